"""SynthVeRi: parametric 3-D vehicles seen by twenty cameras, in the layout of VeRi."""

from mtn_core.synthveri.contact import contact_sheet
from mtn_core.synthveri.plan import SIZES
from mtn_core.synthveri.write import VERSION, describe_version, write_synthveri

__all__ = ["SIZES", "VERSION", "contact_sheet", "describe_version", "write_synthveri"]
