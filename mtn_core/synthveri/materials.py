"""What the faces are made of."""

from mtn_core.synthveri.mesh import RGB, Material

RUBBER = Material((0.018, 0.018, 0.019), 0.02, 0.2)
DARK = Material((0.006, 0.006, 0.006))
GAP = Material((0.012, 0.012, 0.013))
PLASTIC = Material((0.028, 0.028, 0.030), 0.03, 0.25)
GLASS = Material((0.005, 0.006, 0.007), 0.04, 1.0)
PRIVACY_GLASS = Material((0.002, 0.002, 0.002), 0.03, 1.0)
CHROME = Material((0.25, 0.25, 0.26), 0.55, 0.9)
SILVER = Material((0.42, 0.42, 0.43), 0.25, 0.5)
GUNMETAL = Material((0.09, 0.09, 0.10), 0.2, 0.5)
BLACK_GLOSS = Material((0.012, 0.012, 0.012), 0.05, 0.9)
LAMP = Material((0.34, 0.35, 0.37), 0.10, 1.0)
LAMP_DARK = Material((0.05, 0.05, 0.055), 0.08, 1.0)
LAMP_CORE = Material((0.75, 0.76, 0.80), 0.3, 1.0)
LAMP_LIT = Material((0.6, 0.6, 0.6), 0.1, 1.0, (1.3, 1.3, 1.2))
RED_LAMP = Material((0.30, 0.012, 0.015), 0.07, 1.0)
RED_LIT = Material((0.5, 0.02, 0.02), 0.07, 1.0, (1.1, 0.08, 0.05))
DARK_RED_LAMP = Material((0.12, 0.006, 0.008), 0.07, 1.0)
AMBER = Material((0.65, 0.22, 0.02), 0.07, 0.9)
PLATE = Material((0.004, 0.004, 0.004))  # plates are blacked out, as in VeRi
WHITE = Material((0.75, 0.75, 0.74))


def linear(rgb: RGB) -> RGB:
    """Linear albedo of an sRGB colour, 0..255."""
    red, green, blue = (float((c / 255) ** 2.2) * 0.9 + 0.003 for c in rgb)
    return red, green, blue
