"""How surely somebody is who he says: the three levels of assurance, and their order.

Source   Regulation (EU) 910/2014 article 8(2)
"""

from collections.abc import Mapping
from typing import Literal

AssuranceLevel = Literal["low", "substantial", "high"]
ORDER: Mapping[AssuranceLevel, int] = {"low": 1, "substantial": 2, "high": 3}
