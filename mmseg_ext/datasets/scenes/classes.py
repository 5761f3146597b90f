"""The classes of the drawn street scenes: names, colours, and which of them are countable."""

CLASSES = ('sky', 'building', 'road', 'lane marking', 'pavement', 'tree', 'car', 'pedestrian',
           'cyclist', 'pole', 'sign', 'traffic light')

# RGB, as METAINFO palettes of mmseg are.
PALETTE = ([112, 176, 236], [126, 92, 84], [92, 70, 110], [250, 246, 214], [222, 110, 196],
           [74, 146, 52], [24, 46, 172], [224, 44, 60], [240, 140, 30], [150, 150, 150],
           [236, 214, 40], [60, 224, 190])

# Classes whose objects carry an instance id.
THING_CLASSES = ('car', 'pedestrian', 'cyclist')

SKY, BUILDING, ROAD, MARKING, PAVEMENT, TREE, CAR, PEDESTRIAN, CYCLIST, POLE, SIGN, LIGHT = range(
    len(CLASSES))

# The value of unlabelled pixels in both maps.
IGNORED = 255
