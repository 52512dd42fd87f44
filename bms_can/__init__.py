"""CAN-bus BMS driver: CAN frames to battery status, commands to CAN frames. Knows no cloud."""
