"""The classes of ADE20K (Zhou et al., CVPR 2017), which label maps are made of, and which of them look alike."""

_NAMES = (
    "wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door, "
    "table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, "
    "armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, "
    "chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, "
    "case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, "
    "book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, "
    "hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth, television receiver, airplane, "
    "dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship, "
    "fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag, "
    "minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, "
    "screen, blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate, "
    "monitor, bulletin board, shower, radiator, glass, clock, flag"
)

CLASSES = tuple(_NAMES.split(", "))
"""The names of labels 0 to 149."""

_KIN = (
    ("tree", "grass", "plant", "field", "palm"),
    ("water", "sea", "river", "lake", "swimming pool", "waterfall"),
    ("mountain", "hill", "rock"),
    ("earth", "sand", "land", "dirt track", "path"),
    ("road", "sidewalk", "runway"),
    ("wall", "building", "house", "skyscraper", "hovel", "tower"),
    ("floor", "rug"),
    ("stairs", "stairway", "step", "escalator"),
    ("fence", "railing", "bannister"),
    ("door", "screen door"),
    ("windowpane", "glass"),
    ("curtain", "blind"),
    ("bed", "cushion", "pillow", "blanket"),
    ("chair", "sofa", "armchair", "seat", "bench", "swivel chair", "ottoman", "stool"),
    ("table", "desk", "coffee table", "counter", "countertop", "kitchen island", "buffet"),
    ("cabinet", "shelf", "wardrobe", "chest of drawers", "case", "bookcase"),
    ("lamp", "light", "chandelier", "streetlight", "sconce"),
    ("computer", "television receiver", "screen", "crt screen", "monitor"),
    ("car", "bus", "truck", "van"),
    ("minibike", "bicycle"),
    ("boat", "ship"),
    ("painting", "poster"),
    ("signboard", "trade name", "bulletin board"),
)

KIN = tuple(tuple(CLASSES.index(name) for name in group) for group in _KIN)
"""Groups of labels that are one thing to a photographer; a label is in one group at most."""
