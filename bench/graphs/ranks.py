"""Ranks of object classes for the hierarchical ordering (thesis 10.4.1): scenes first, parts last.

The thesis names the kinds of each rank and no list; this one was written by hand for the vocabularies of
Visual Genome (VG150), VRD and the phantom. A name that is in none of them counts as rank 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

UNKNOWN = 2

_PLACES_AND_VEHICLES = """
airplane; beach; bike; boat; branch; building; bus; bush; car; cart; city; counter; court; engine; fence;
field; floor; forest; garden; grass; ground; harbour; hill; house; kitchen; lake; motorcycle; mountain;
office; park; path; plane; platform; railing; ramp; river; road; rock; room; sand; sea; sidewalk; sky; snow;
station; street; tower; track; train; truck; van; vehicle; wall; water; wave; yard
"""
_THINGS = """
animal; apple; bag; ball; banana; basket; bear; bed; bench; bird; board; book; bottle; bowl; box; boy;
cabinet; camera; can; cat; chair; child; clock; computer; cone; cow; cup; curtain; desk; dog; drawer;
elephant; faucet; flower; food; fork; fruit; giraffe; girl; glass; guy; horse; hydrant; keyboard; kid; kite;
knife; lady; lamp; laptop; light; luggage; man; men; monitor; mouse; orange; oven; paper; people; person;
phone; pillow; pizza; plant; plate; player; pole; post; pot; racket; refrigerator; screen; seat; sheep;
shelf; sink; skateboard; ski; skier; skis; snowboard; sofa; spoon; stand; stove; suitcase; surfboard; table;
tile; toilet; towel; traffic light; trash can; tree; trees; umbrella; vase; vegetable; wire; woman; zebra
"""
_PARTS = """
arm; boot; cap; coat; door; ear; eye; face; finger; flag; glasses; glove; hair; hand; handle; hat; head;
helmet; jacket; jean; jeans; leaf; leg; letter; logo; mouth; neck; nose; number; pant; pants; paw; roof;
shirt; shoe; shoes; short; shorts; sign; sneaker; sock; sunglasses; tail; tie; tire; trunk; watch; wheel;
window; windshield; wing
"""
RANKS = {
    name.strip(): rank
    for rank, names in ((1, _PLACES_AND_VEHICLES), (2, _THINGS), (3, _PARTS))
    for name in names.split(";")
}


def ranks(objects: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(K,) rank of each class, 1 to 3, and the names that are in no list and so have rank 2."""
    found = np.asarray([RANKS.get(name.lower(), UNKNOWN) for name in objects], np.int64)
    return found, tuple(name for name in objects if name.lower() not in RANKS)
