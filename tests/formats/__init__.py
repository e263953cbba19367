"""What released versions wrote, kept as they wrote it: never edited, only added to.

A directory a version. Each has the records of one run as text, and an executor that speaks the
protocol of that version and knows nothing of this program.
"""
