"""A build that talks: RATE lines a second for SECONDS, each with the time it was printed. ``lines.py RATE SECONDS``."""

import sys
import time

rate, seconds = float(sys.argv[1]), float(sys.argv[2])
began = time.monotonic()
for number in range(int(rate * seconds)):
    wait = began + number / rate - time.monotonic()
    if wait > 0:
        time.sleep(wait)
    print(f"{time.time():.6f} line {number:07} {'=' * 80}", flush=True)
