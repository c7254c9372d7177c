"""Countries, merchant categories and the rhythm of days: the engine's small facts about the world."""

from __future__ import annotations

from typing import Final

import numpy as np

from sluice_engine.draws import Ints

HOME_COUNTRIES: Final = ("DE", "FR", "IT", "ES", "NL", "AT", "PT", "IE")
FOREIGN_COUNTRIES: Final = ("BG", "BR", "NG", "RO", "TR", "VN")
COUNTRIES: Final = HOME_COUNTRIES + FOREIGN_COUNTRIES
HOME_WEIGHTS: Final[Ints] = np.array([280, 230, 190, 150, 70, 35, 30, 15], np.int64)
UTC_OFFSET_HOURS: Final[Ints] = np.array([1, 1, 1, 1, 1, 1, 0, 0, 2, -3, 1, 2, 3, 7], np.int64)

POS: Final = 0
ECOM: Final = 1
ATM: Final = 2
CHANNELS: Final = ("pos", "ecom", "atm")

# code, weight among shops, weight among web shops, amount against the customer's mean in thousandths
_CATEGORIES: Final = (
    ("5411", 300, 80, 700),  # grocery
    ("5812", 200, 60, 600),  # restaurants
    ("5541", 110, 0, 1100),  # fuel
    ("5651", 100, 200, 1300),  # clothing
    ("5732", 40, 150, 2600),  # electronics
    ("5912", 90, 40, 500),  # pharmacy
    ("5942", 60, 120, 450),  # books
    ("4121", 60, 60, 400),  # taxi
    ("7011", 30, 50, 2800),  # hotels
    ("4722", 10, 60, 3500),  # travel agencies
    ("5816", 0, 180, 350),  # digital goods
)
CASH_CATEGORY: Final = len(_CATEGORIES)
CATEGORY_CODES: Final = (*(code for code, _, _, _ in _CATEGORIES), "6011")
SHOP_WEIGHTS: Final[Ints] = np.array([row[1] for row in _CATEGORIES], np.int64)
WEB_WEIGHTS: Final[Ints] = np.array([row[2] for row in _CATEGORIES], np.int64)
CATEGORY_PERMILLE: Final[Ints] = np.array([*(row[3] for row in _CATEGORIES), 2000], np.int64)

SEGMENTS: Final = ("student", "worker", "family", "retiree", "affluent")
SEGMENT_WEIGHTS: Final[Ints] = np.array([150, 350, 250, 170, 80], np.int64)
SEGMENT_MEAN_MINOR: Final[Ints] = np.array([1800, 3200, 4600, 2900, 9800], np.int64)
SEGMENT_RATE: Final[Ints] = np.array([1100, 1000, 1300, 700, 1500], np.int64)
SEGMENT_ECOM_PERMILLE: Final[Ints] = np.array([420, 300, 260, 120, 330], np.int64)

# weight of each local hour; one row a segment
_HOURS: Final = (
    (30, 22, 15, 8, 4, 3, 5, 12, 22, 32, 40, 48, 60, 56, 48, 46, 52, 60, 66, 70, 68, 62, 54, 42),
    (6, 3, 2, 1, 2, 8, 24, 50, 52, 34, 34, 42, 74, 66, 40, 38, 46, 72, 80, 64, 46, 32, 20, 11),
    (3, 2, 1, 1, 1, 4, 14, 34, 48, 60, 66, 64, 56, 48, 46, 56, 70, 78, 66, 46, 30, 18, 10, 5),
    (2, 1, 1, 1, 2, 5, 16, 38, 70, 92, 98, 84, 62, 50, 56, 62, 58, 44, 30, 18, 11, 7, 4, 3),
    (14, 9, 5, 3, 2, 3, 9, 24, 38, 46, 50, 58, 76, 70, 54, 48, 54, 66, 76, 84, 80, 64, 42, 26),
)
HOUR_ENDS: Final[Ints] = np.cumsum(np.array(_HOURS, np.int64), axis=1)

# weight of each weekday (Monday first); one row a segment
_WEEKDAYS: Final = (
    (90, 90, 95, 105, 130, 140, 100),
    (100, 98, 100, 105, 125, 110, 70),
    (90, 88, 92, 98, 120, 150, 75),
    (115, 110, 110, 110, 110, 80, 45),
    (95, 95, 100, 105, 125, 130, 100),
)
WEEKDAY_PERCENT: Final[Ints] = np.array(_WEEKDAYS, np.int64)
