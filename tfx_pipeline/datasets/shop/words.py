"""The words that the shop's names, titles and queries are made of."""

from __future__ import annotations

import functools

# Department -> leaf category -> words that titles and queries use for it.
CATEGORIES: dict[str, dict[str, tuple[str, ...]]] = {
    "clothing": {
        "dresses": ("dress", "gown", "frock"),
        "coats": ("coat", "jacket", "parka"),
        "shirts": ("shirt", "blouse", "top"),
        "trousers": ("trousers", "pants", "chinos"),
        "knitwear": ("sweater", "jumper", "cardigan"),
        "skirts": ("skirt", "kilt", "miniskirt"),
    },
    "shoes": {
        "sneakers": ("sneakers", "trainers", "runners"),
        "boots": ("boots", "booties", "wellingtons"),
        "sandals": ("sandals", "slides", "espadrilles"),
        "heels": ("heels", "pumps", "stilettos"),
        "loafers": ("loafers", "moccasins", "brogues"),
        "slippers": ("slippers", "clogs", "mules"),
    },
    "accessories": {
        "handbags": ("handbag", "tote", "purse"),
        "backpacks": ("backpack", "rucksack", "daypack"),
        "jewellery": ("necklace", "bracelet", "earrings"),
        "scarves": ("scarf", "shawl", "stole"),
        "hats": ("hat", "cap", "beanie"),
        "watches": ("watch", "chronograph", "timepiece"),
    },
    "home": {
        "lamps": ("lamp", "lantern", "light"),
        "cushions": ("cushion", "pillow", "bolster"),
        "rugs": ("rug", "carpet", "runner"),
        "vases": ("vase", "planter", "pot"),
        "curtains": ("curtain", "drape", "blind"),
        "chairs": ("chair", "stool", "armchair"),
    },
    "kitchen": {
        "mugs": ("mug", "cup", "tumbler"),
        "pans": ("pan", "skillet", "wok"),
        "knives": ("knife", "cleaver", "slicer"),
        "plates": ("plate", "dish", "bowl"),
        "kettles": ("kettle", "teapot", "samovar"),
        "boards": ("board", "tray", "platter"),
    },
    "sports": {
        "mats": ("mat", "pad", "groundsheet"),
        "bottles": ("bottle", "flask", "canteen"),
        "tents": ("tent", "shelter", "tarp"),
        "bikes": ("bike", "bicycle", "cycle"),
        "rackets": ("racket", "paddle", "bat"),
        "weights": ("dumbbell", "kettlebell", "barbell"),
    },
    "toys": {
        "puzzles": ("puzzle", "jigsaw", "brainteaser"),
        "dolls": ("doll", "figurine", "puppet"),
        "blocks": ("blocks", "bricks", "cubes"),
        "plush": ("plush", "teddy", "cuddly"),
        "games": ("boardgame", "cardgame", "dominoes"),
        "trains": ("train", "railway", "locomotive"),
    },
    "electronics": {
        "headphones": ("headphones", "earbuds", "headset"),
        "keyboards": ("keyboard", "keypad", "numpad"),
        "chargers": ("charger", "powerbank", "adapter"),
        "speakers": ("speaker", "soundbar", "subwoofer"),
        "cameras": ("camera", "webcam", "camcorder"),
        "cables": ("cable", "cord", "lead"),
    },
}

# How much looks count in a department, from little to much.
VISUAL_WEIGHT = {
    "clothing": 1.2,
    "shoes": 1.1,
    "accessories": 1.2,
    "home": 1.1,
    "kitchen": 0.8,
    "sports": 0.6,
    "toys": 0.8,
    "electronics": 0.4,
}

# What a thing is for; every use crosses all departments.
USES = (
    "travel", "office", "party", "outdoor", "kids", "gift",
    "winter", "summer", "wedding", "studio", "weekend", "garden",
)  # fmt: skip

MATERIALS = (
    "cotton", "linen", "leather", "wool", "steel", "oak",
    "bamboo", "ceramic", "glass", "canvas", "silk", "rubber",
)  # fmt: skip

# Hint at how an item looks; each has a direction in the space of styles.
STYLES = (
    "minimal", "ornate", "bold", "muted", "retro", "modern",
    "rustic", "elegant", "playful", "sporty", "romantic", "industrial",
)  # fmt: skip

# Say nothing about an item.
ADJECTIVES = (
    "new", "fine", "great", "original", "genuine", "handy", "lovely", "everyday", "improved",
    "superb", "trusted", "certified", "special", "limited", "favourite", "clever", "solid",
    "simple", "ultimate", "perfect", "premium", "authentic", "essential", "popular",
)  # fmt: skip

VIDEO_OPENINGS = (
    "how to pick", "haul of", "review of", "unboxing", "styling", "best of", "trying",
    "a week with",
)  # fmt: skip

SYLLABLES = (
    "ba", "be", "bo", "ca", "da", "do", "fa", "fi", "ga", "ja", "ka", "ko", "la", "le", "li", "lo",
    "ma", "mi", "mo", "na", "ne", "no", "pa", "pi", "ra", "ri", "ro", "sa", "se", "so", "ta", "ti",
    "to", "va", "ve", "vi", "vo", "za", "ze", "zo",
)  # fmt: skip

AGES = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
HOUSEHOLDS = ("single", "couple", "family", "shared")
REGIONS = ("north", "south", "east", "west", "coast", "capital")
MEMBERSHIPS = ("basic", "plus", "premium")
DEVICES = ("web", "android", "ios")

DEPARTMENTS = tuple(CATEGORIES)
LEAVES = tuple((d, leaf) for d, leaves in CATEGORIES.items() for leaf in leaves)
LEAF_WORDS = tuple(words for leaves in CATEGORIES.values() for words in leaves.values())
WORDS_PER_LEAF = 3


@functools.cache
def coined_name(number: int) -> str:
    """Returns a name of three or more syllables, another one for every number."""
    base = len(SYLLABLES)
    beyond, number = divmod(number, base**3)
    number = (number * 7_919 + 12_345) % base**3  # neighbours sound different
    digits = [number // base**2, number // base % base, number % base]
    while beyond:
        beyond, digit = divmod(beyond, base)
        digits.append(digit)
    return "".join(SYLLABLES[digit] for digit in digits)
