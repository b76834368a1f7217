"""Speed of an encoder against the usual ways, measured side by side.

python benchmarks/speed.py [--encoder NAME] [--device DEVICE] [--quick] [--json]
"""

import argparse
import json

import torch

from pychip_stream.model.encoder import load_encoder
from pychip_stream.model.speed import measure_speed


def main() -> None:
    parser = argparse.ArgumentParser(description="speed of an encoder on this machine")
    parser.add_argument("--encoder", default="bundled")
    parser.add_argument("--device", default=None, help='for example "cpu/float32"')
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure_speed(load_encoder(args.encoder, device=args.device), args.quick)
    if args.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{found['encoder']} on {found['device']}, {torch.get_num_threads()} threads")
    print(f"  chips/s (1024² frame, 64-px chips)    {found['chips_per_s']:10.0f}")
    print(f"  ResNet-18 at 64 px, its best, chips/s {found['resnet18_64_per_s']:10.0f}")
    print(f"    ratio                               {found['ratio_resnet18_64']:10.1f}")
    print(f"  the paper's way, chips/s              {found['paper_per_s']:10.1f}")
    print(f"    ratio                               {found['ratio_paper']:10.0f}")
    print(f"  matrix product, GFLOP/s               {found['gemm_gflops']:10.0f}")
    print(f"    share the network reaches           {found['gemm_share']:10.2f}")
    for size, rate in found["frames_per_s"].items():
        print(f"  frames/s at {size:>8}                  {rate:10.1f}")


if __name__ == "__main__":
    main()
