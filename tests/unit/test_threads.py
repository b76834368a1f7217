"""Threads of the matrix libraries are settled before these are loaded."""

import subprocess
import sys

from pychip_stream import threads


def test_what_the_user_has_set_stays():
    environment = {"OPENBLAS_NUM_THREADS": "4"}
    threads.settle(environment)
    assert environment["OPENBLAS_NUM_THREADS"] == "4"
    assert set(environment) == set(threads.SETTINGS)


def test_the_command_line_loads_no_matrix_library_before_it_settles_them():
    code = "import sys, pychip_stream.cli.main; print({'numpy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
