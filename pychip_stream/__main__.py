"""`python -m pychip_stream` is the command `pychip-stream`."""

from pychip_stream.cli.main import main

if __name__ == "__main__":
    main()
