"""Where two nodes meet: lead-ins, crossfades, and the line that an export renders."""
