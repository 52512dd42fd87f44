"""Identifiers of SAE J1939: parameter group and source address. Pure."""

FIRST_BROADCAST = 0xF0  # PDU format from which the next byte belongs to the group

GROUPS = {  # groups that tell a vehicle's bus; names from public J1939 material
    0xF004: "EEC1 engine speed",
    0xF003: "EEC2 accelerator pedal",
    0xFEEE: "ET1 engine temperature",
    0xFEEF: "EFL/P1 oil pressure",
    0xFEF1: "CCVS1 vehicle speed",
    0xFEF2: "LFE1 fuel economy",
    0xFEF5: "AMB ambient conditions",
    0xFEF6: "IC1 intake conditions",
    0xFEF7: "VEP1 electrical power",
    0xFEFC: "DD1 dash display",
    0xFEE5: "HOURS engine hours",
    0xFEE9: "LFC1 fuel consumption",
    0xFECA: "DM1 active trouble codes",
    0xFECB: "DM2 previous trouble codes",
    0xFEE0: "VD vehicle distance",
    0xFEC1: "VDHR high-resolution distance",
    0xF001: "EBC1 brake controller",
    0xF002: "ETC1 transmission",
    0xF005: "ETC2 gear",
    0xFE6C: "TCO1 tachograph",
    0xFEBF: "EBC2 wheel speed",
    0xEC00: "TP.CM transport",
    0xEB00: "TP.DT transport",
    0xEE00: "address claimed",
    0xEA00: "request",
    0x0000: "TSC1 torque/speed control",
}


def pgn_of(can_id: int) -> int:
    """Return the parameter group number of a 29-bit identifier."""
    group = can_id >> 8 & 0x3FFFF
    return group if group >> 8 & 0xFF >= FIRST_BROADCAST else group & 0x3FF00


def group_name(pgn: int) -> str:
    """Return the common name of a parameter group, "" if it is not in the table."""
    return GROUPS.get(pgn, "")
