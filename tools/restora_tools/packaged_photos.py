"""The photos in packages that are not installed: where each lies, and its license."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from restora_tools import game_photos

# packages of Debian, by release
DEBIAN = {
    "bookworm": ("lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", game_photos.PACKAGE),
    "trixie": (
        "budgie-backgrounds",
        "palapeli-data",
        "wordpress-theme-twentytwentyfour",
        "wordpress-theme-twentytwentyfive",
    ),
}

WHEEL_FOLDER = "sklearn/datasets/images"  # in scikit-learn

Use = Literal["training", "held-out", "damaged"]


@dataclass(frozen=True, slots=True)
class PackagedPhoto:
    """A photo in a package that is not installed.

    file: the end of its path in the package
    sha256: the first 16 hexadecimal digits of the file's
    use: also the name of the folder it is collected in; "damaged" is an old photo with real damage
    """

    name: str
    file: str
    license: str
    sha256: str
    use: Use = "training"


def _of_budgie(name: str, sha256: str) -> PackagedPhoto:
    file = f"backgrounds/budgie/{name.replace('_', '-')}.jpg"
    return PackagedPhoto(name, file, "CC0, Budgie Desktop Developers", sha256)


def _of_puzzle(name: str, author: str, sha256: str) -> PackagedPhoto:
    file = f"palapeli/collection/{name.replace('_', '-')}.jpg"
    return PackagedPhoto(name, file, f"public domain, {author}", sha256)


def _of_theme(name: str, sha256: str) -> PackagedPhoto:
    file = f"twentytwentyfour/assets/images/{name.replace('_', '-')}.webp"
    return PackagedPhoto(name, file, "CC0, rawpixel.com", sha256)


def _old(name: str, file: str, author: str, sha256: str) -> PackagedPhoto:
    file = f"twentytwentyfive/assets/images/{file}.webp"
    return PackagedPhoto(name, file, f"CC0, {author}", sha256, "damaged")


_WALLS = "usr/share/backgrounds"
PHOTOS = (
    PackagedPhoto(
        "china", f"{WHEEL_FOLDER}/china.jpg", "CC BY 2.0, danielbuechele", "8378025ad2519d64"
    ),
    PackagedPhoto(
        "mountains", f"{_WALLS}/aitzgorri_by_Aitzol_Berasategi.jpg",
        "CC BY 4.0, Aitzol Berasategi", "66268e7b48f8854d",
    ),
    PackagedPhoto(
        "dogs", f"{_WALLS}/friends_by_Aitzol_Berasategi.jpg",
        "CC BY 4.0, Aitzol Berasategi", "cc40e313c74e421e",
    ),
    PackagedPhoto(
        "creek", f"{_WALLS}/life_by_Aitzol_Berasategi.jpg",
        "CC BY 4.0, Aitzol Berasategi", "4c119350ead80201",
    ),
    PackagedPhoto(
        "peaks", f"{_WALLS}/picosdeeuropa_by_Aitzol_Berasategi.jpg",
        "CC BY 4.0, Aitzol Berasategi", "414d0072b2f6f2c5",
    ),
    PackagedPhoto(
        "sunset", f"{_WALLS}/sunset_by_Aitzol_Berasategi.jpg",
        "CC BY 4.0, Aitzol Berasategi", "474dab6a4b9f94dc",
    ),
    PackagedPhoto(
        "bowl", f"{_WALLS}/Picture_0B_by_freespace.jpg",
        'CC BY 4.0, Trevor "Freespace"', "c8c0ab18e48d9e04",
    ),
    PackagedPhoto(
        "brushes", f"{_WALLS}/Picture_1A_by_freespace.jpg",
        'CC BY 4.0, Trevor "Freespace"', "89e86af38d04daae",
    ),
    PackagedPhoto(
        "room", f"{_WALLS}/Wine_by_Jakkub_Mede.jpg", "CC BY 4.0, Jakub Mede", "d2e96e6d4da40dd8"
    ),
    PackagedPhoto(
        "dandelions", f"{_WALLS}/seeding_by_Clements_Engelhardt.jpg",
        "CC0, Clemens Engelhardt", "a5634d1ab5e41a35",
    ),
    PackagedPhoto(
        "flower", f"{WHEEL_FOLDER}/flower.jpg", "CC BY 2.0, vultilion", "a77f6ec41e353afd",
        "held-out",
    ),
    PackagedPhoto(
        "bridge", f"{_WALLS}/Bridge_by_Sander_Klootwijk.jpg",
        "CC BY-SA 4.0, Sander Klootwijk", "bd86b081f9975e2b", "held-out",
    ),
    PackagedPhoto(
        "dragonfly", f"{_WALLS}/Dragonfly_by_Bolly.jpg",
        'CC BY-SA 4.0, "Bolly"', "af5af17841009732", "held-out",
    ),
    PackagedPhoto(
        "lamp", f"{_WALLS}/free_by_Peter_Nerlich.jpg",
        "CC BY-SA 4.0, Peter Nerlich", "85a5453c2fed514c", "held-out",
    ),
    PackagedPhoto(
        "clock", f"{_WALLS}/greentock_by_Peter_Nerlich.jpg",
        "CC BY-SA 4.0, Peter Nerlich", "e7b20e2db9dcd6e2", "held-out",
    ),
    PackagedPhoto(
        "nuthatch", f"{_WALLS}/Kleiber_by_Lukas_Baubkus.jpg",
        "CC BY-SA 3.0, Lukas Baubkus", "6572410c09f4492c", "held-out",
    ),
    _of_budgie("abstract_spiral", "10070d1f52c14561"),
    _of_budgie("beacon_street_sunset", "d77a97bfbb28fa6b"),
    _of_budgie("blue_periwinkle", "0b35d0e6e14766ec"),
    _of_budgie("canyon_wren", "1576ed3332c11b81"),
    _of_budgie("casa_mila", "5c7b24e463e3ca90"),
    _of_budgie("extreme_desert_hike", "beed5bc6a2c99b02"),
    _of_budgie("high_trestle_trail", "3fa56b607d41e658"),
    _of_budgie("lake_sherburne", "85881b53de866a52"),
    _of_budgie("oakland_zoo_otters", "b7540dd5c076b5b3"),
    _of_budgie("perched_osprey", "d57e8d13c898c8ab"),
    _of_budgie("piazza_gae_aulenti", "f5a33cc32e1e3c45"),
    _of_budgie("roman_colosseum", "3a085abab563afcd"),
    _of_budgie("singaporean_cityscape", "f636392cae58e2cf"),
    _of_budgie("tea_gardens", "1d7377e9903b29a3"),
    _of_puzzle("cincinnati_bridge", "Derek Jensen", "09772d09318b34a5"),
    _of_puzzle("citrus_fruits", "U.S. Department of Agriculture", "0cbd7154a1478980"),
    _of_puzzle("european_honey_bee", "John Severns", "9d54ae706bddd899"),
    _of_theme("abstract_geometric_art", "44c0f31ccba5dc85"),
    _of_theme("angular_roof", "ca00f40190463960"),
    _of_theme("art_gallery", "7b7ef1992e6ddc64"),
    _of_theme("building_exterior", "7ab1e25df9f0e982"),
    _of_theme("green_staircase", "044e72c1ece83999"),
    _of_theme("hotel_facade", "99639d08984605a7"),
    _of_theme("museum", "480d989bfa8ed057"),
    _of_theme("tourist_and_building", "0fc42e518e17733d"),
    _of_theme("windows", "a8b72c3a34a4ac88"),
    _old("totara", "404-image", "Leslie Adkin", "6873efa282369388"),
    _old("mill", "link-in-bio-background", "Lewis W. Hine", "a24fed0ba3eeff64"),
    _old("meadow", "coming-soon-bg-image", "rawpixel.com", "65d5bf334ea064e8"),
)  # fmt: skip
