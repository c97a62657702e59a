"""32 short sentences on 8 subjects, for networks that take text. Written for this package."""

SUBJECTS: dict[str, tuple[str, str, str, str]] = {
    "cooking": (
        "Fry the onions in butter until they are soft.",
        "The bread has to rise for two hours before it goes into the oven.",
        "A pinch of salt brings out the taste of the soup.",
        "She peeled the potatoes and put them into boiling water.",
    ),
    "weather": (
        "Heavy rain is expected along the coast tonight.",
        "The fog lifted and the sun came out before noon.",
        "Temperatures will fall below freezing by Friday.",
        "A thunderstorm with strong winds crossed the valley.",
    ),
    "music": (
        "The orchestra tuned its violins before the concert.",
        "He practises the piano sonata for an hour every day.",
        "The singer forgot the second verse of the song.",
        "That melody is played by the flute and the oboe.",
    ),
    "medicine": (
        "The doctor prescribed antibiotics for the infection.",
        "Her blood pressure was measured twice at the clinic.",
        "The surgeon operated on the broken knee.",
        "A vaccine protects patients against the disease.",
    ),
    "football": (
        "The goalkeeper saved a penalty in the last minute.",
        "Our team lost the match by two goals to one.",
        "The striker was shown a red card for the foul.",
        "The coach changed three players at half time.",
    ),
    "space": (
        "The probe entered an orbit around Mars.",
        "Astronomers discovered a planet near a distant star.",
        "The rocket carried two satellites beyond the atmosphere.",
        "A lunar eclipse happens when the Earth's shadow covers the Moon.",
    ),
    "computers": (
        "The compiler reports an error in line ten.",
        "Save the file before you restart the laptop.",
        "The program crashed because the memory was full.",
        "He wrote a script that sorts the database every night.",
    ),
    "gardening": (
        "Plant the tulip bulbs in autumn.",
        "The roses need pruning after they have flowered.",
        "Water the tomatoes early in the morning.",
        "Compost makes the soil of the flower beds richer.",
    ),
}
