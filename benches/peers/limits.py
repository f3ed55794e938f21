"""How near the processor's limits a comparison comes, as a Markdown table.

    python limits.py LIMITS [RECORD...]           # of limits/ and of compare.py cpu; without records the limits alone
    python limits.py LIMITS --products PRODUCTS   # what products/ reaches of one thread's limits

The limit of a row is a time that no engine on this processor can beat by much: per step the larger
of two, the recurrent weights that a thread reads over the rate of the cache that holds them, and its
multiply-adds over the peak; plus the products over the input at the peak, whose weights are read once
at least. Activations, copies and waking a thread are not in it.

Two threads take a direction each, or half of the rows each (and read all weights), or, of one
row and direction, half of the units each. These last exchange their halves after every
step, in reset-before twice a step: each exchange costs half of the measured round trip of a cache line at
least. Every call of two threads costs one round trip. Rates of two threads are those of both at once.
"""

import json
import sys
from pathlib import Path

GRID = Path(__file__).resolve().parent.parent / "grid.json"


def rates(limits, threads):
    """What so many threads reach."""
    known = next((r for r in limits["results"] if r["threads"] == threads), None)
    if known is None:
        sys.exit(f"the limits are not of {threads} threads")
    if threads == 2 and "round_trip_ns" not in limits:
        sys.exit("the limits have no round_trip_ns, which two threads need: they are of an older limits/")
    return known


def limit(row, reset, limits, threads):
    """Milliseconds at least with so many threads, and what the steps are bound by."""
    known = rates(limits, threads)
    peak = known["gflops"] / threads
    directions = 2 if row["bi"] else 1
    by_directions = threads == 2 and directions == 2
    by_units = threads == 2 and directions == 1 and row["B"] == 1
    by_rows = threads == 2 and not by_directions and not by_units
    rows = row["B"] / 2 if by_rows else row["B"]

    def read(count, block):
        """Nanoseconds for so many bytes of a block that lies in the smallest cache that holds it."""
        reads = known["reads"]
        level = next((r for r in reads if r["kib_a_thread"] * 1024 >= block), reads[-1])
        return count / (max(level["gb_per_s"], level["turning_gb_per_s"]) / threads)

    # A thread's share of one cell's weights, in bytes: three gates of four bytes.
    share = 12 * row["H"] / (2 if by_units else 1)
    recurrent, nanoseconds = share * row["H"], 0
    for layer in range(row["L"]):
        entering = share * (row["I"] if layer == 0 else row["H"] * directions)
        # A pair of operations a weight: half as many operations as bytes, for each row.
        # All weights are read once a call; the recurrent ones lie nearer where steps follow at once.
        both = recurrent + entering
        reading = read(recurrent, both if row["T"] == 1 else recurrent)
        step = max(reading, rows * recurrent / 2 / peak)
        project = max(row["T"] * rows * entering / 2 / peak, read(entering, both))
        nanoseconds += (row["T"] * step + project) * (1 if by_directions else directions)
    bound = f"weights, {recurrent / 1024:.0f} KiB a thread" if reading == step else "multiply-adds"
    if threads == 2:
        exchanges = row["T"] * row["L"] * (1 if reset == "after" else 2) if by_units else 0
        nanoseconds += (exchanges / 2 + 1) * limits["round_trip_ns"]
        bound += " + exchanges" if by_units else ""
    return nanoseconds / 1e6, bound


def table(limits, records):
    """A line a row and reset form that wgru has a time for. In pairs: of one thread, of two."""
    rows = [row for record in records for row in record["rows"]]
    yield ("| row | reset | wgru ms | limit ms | wgru of the limit | bound by | onnxruntime / wgru | "
           "onnxruntime / limit |")
    yield "|---|---|---:|---:|---:|---|---:|---:|"
    for row in rows:
        if row["engine"] != "wgru" or "e2e_ms" not in row:
            continue
        if row.get("threads") not in (1, 2):
            sys.exit(f"{row['name']} of a record is not of one or two processor threads "
                     f"(threads: {row.get('threads')}): limits are of these")
        both = [limit(row, row["reset"], limits, t) for t in range(1, row["threads"] + 1)]
        peer = [
            r for r in rows
            if r["engine"] == "onnxruntime" and (r["name"], r["reset"]) == (row["name"], row["reset"])
        ]
        ratio = peer[0].get("over_wgru") if peer else None
        beyond = " / ".join(f"{ratio * row['e2e_ms'] / ms:.2f}" for ms, _ in both) if ratio else ""
        columns = [row["name"], row["reset"], f"{row['e2e_ms']:.3f}",
                   " / ".join(f"{ms:.3f}" for ms, _ in both),
                   " / ".join(f"{ms / row['e2e_ms']:.0%}" for ms, _ in both),
                   both[-1][1], f"{ratio:.2f}" if ratio else "", beyond]
        yield f"| {' | '.join(columns)} |"


def bare(limits):
    """The limits of the rows that peers are compared on."""
    yield "| row | reset | limit ms, 1 thread | bound by | limit ms, 2 threads | bound by |"
    yield "|---|---|---:|---|---:|---|"
    for row in json.loads(GRID.read_text()):
        for reset in ("after", "before") if "bar" in row["groups"] else ():
            one, two = (limit(row, reset, limits, threads) for threads in (1, 2))
            yield f"| {row['name']} | {reset} | {one[0]:.4f} | {one[1]} | {two[0]:.4f} | {two[1]} |"


def products(limits, found):
    """What each crate reaches of one thread's peak; of one row, of the rate of reading the weights."""
    crates = list(found["versions"])
    yield f"| M | K | N | limit GFLOP/s | bound by | {' | '.join(crates)} |"
    yield f"|---:|---:|---:|---:|---|{'---:|' * len(crates)}"
    known = rates(limits, 1)
    for row in found["gflops"]:
        weights = 4 * row["K"] * row["N"]
        reads = known["reads"]
        level = next((r for r in reads if r["kib_a_thread"] * 1024 >= weights), reads[-1])
        # Two operations a weight and row for four bytes: half as many operations as bytes.
        reading = row["M"] * max(level["gb_per_s"], level["turning_gb_per_s"]) / 2
        most = min(known["gflops"], reading)
        bound = "multiply-adds" if most < reading else f"weights, {weights // 1024} KiB"
        shares = (f"{row[c] / most:.0%}" for c in crates)
        yield f"| {row['M']} | {row['K']} | {row['N']} | {most:.0f} | {bound} | {' | '.join(shares)} |"


def main():
    words = [word for word in sys.argv[1:] if word != "--products"]
    if not words or (len(words) != 2 and "--products" in sys.argv):
        sys.exit("usage: limits.py LIMITS [RECORD... | --products PRODUCTS]")
    limits, *records = (json.loads(Path(name).read_text()) for name in words)
    if "--products" in sys.argv:
        print("\n".join(products(limits, records[0])))
        return
    print("\n".join(table(limits, records) if records else bare(limits)))


if __name__ == "__main__":
    main()
