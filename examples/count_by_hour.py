"""How many crossed each line in each hour, from an event store.

python examples/count_by_hour.py events.db
"""

import sys

from pipeline.api_records import counts_frame

counts = counts_frame(sys.argv[1], by="hour")
crossings = counts[counts["kind"] == "crossing"]
# Of cameras by the clock, of recorded footage by its own hours.
hour = crossings["start_utc"].astype(object).where(crossings["start_utc"].notna(), crossings["start"])
table = crossings.assign(hour=hour).pivot_table(
    index=["source", "hour", "rule"], columns="direction", values="n", aggfunc="sum", fill_value=0
)
print(table.to_string())
