"""How near the processor's limits a comparison comes, as a Markdown table.

    python limits.py LIMITS RECORD...    # of limits/ and of compare.py cpu

The limit of a row is the larger of two times a step: its recurrent weights over the bandwidth of
the cache that holds a thread's share of them, and its multiply-adds over the peak; plus the
products over the input at the peak, but their weights are read once at least. Activations, copies and the meetings of threads are not in it.
A row that one thread could end within 150 us is taken as one thread's: waking another costs that.
"""

import json
import sys
from pathlib import Path


def limit(row, limits, threads):
    """Milliseconds at least, with so many threads."""
    known = next(r for r in limits["results"] if r["threads"] == threads)
    directions = 2 if row["bi"] else 1
    cells = directions * row["L"]

    def read(share):
        """Nanoseconds to read so many bytes that lie in the smallest cache that holds them."""
        reads = known["reads"]
        level = next((r for r in reads if r["kib_a_thread"] * 1024 >= share), reads[-1])
        return share / (max(level["gb_per_s"], level["turning_gb_per_s"]) / threads)

    peak = known["gflops"] / threads
    recurrent = 12 * row["H"] ** 2 * cells / threads
    inputs = row["I"] + (row["L"] - 1) * row["H"] * directions
    entering = 12 * row["H"] * inputs * directions / threads
    # An operation pair a weight, four bytes a weight: 6 operations for 12 bytes of three gates.
    step = row["B"] * recurrent / 2 / peak
    project = max(row["T"] * row["B"] * entering / 2 / peak, read(recurrent + entering)
                  * entering / (recurrent + entering))
    bytes_bound = read(recurrent) > step
    # Bytes over GB/s and operations over GFLOP/s are nanoseconds.
    return (row["T"] * max(read(recurrent), step) + project) / 1e6, bytes_bound


def main():
    limits, *records = (json.loads(Path(name).read_text()) for name in sys.argv[1:])
    rows = [row for record in records for row in record["rows"]]
    print("| row | reset | wgru ms | limit ms | of the limit | bound by | onnxruntime / wgru |")
    print("|---|---|---:|---:|---:|---|---:|")
    for row in rows:
        if row["engine"] != "wgru" or "e2e_ms" not in row:
            continue
        threads = 1 if limit(row, limits, 1)[0] < 0.15 else row["threads"]
        least, reading = limit(row, limits, threads)
        peer = [
            r for r in rows
            if r["engine"] == "onnxruntime" and (r["name"], r["reset"]) == (row["name"], row["reset"])
        ]
        ratio = f"{peer[0]['over_wgru']:.2f}" if peer and "over_wgru" in peer[0] else ""
        print(
            f"| {row['name']} | {row['reset']} | {row['e2e_ms']:.3f} | {least:.3f} "
            f"| {least / row['e2e_ms']:.0%} "
            f"| {'weights from cache' if reading else 'multiply-adds'}, {threads} thread"
            f"{'s' if threads > 1 else ''} | {ratio} |"
        )


if __name__ == "__main__":
    main()
