"""Runs a .tflite file on inputs from a file; the host's Python and the emulated one both run this.

python tools/aarch64/run_model.py MODEL.tflite INPUTS.npy OUTPUTS.npy

INPUTS.npy holds [N, ...] in the dtype of the file's only input, OUTPUTS.npy becomes [N, ...] of its
only output. Prints one line of JSON: machine, LiteRT's version, number of XNNPACK's partitions.
"""

import importlib.metadata
import json
import platform
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def run(model: str, inputs: np.ndarray) -> tuple[np.ndarray, int]:
    """The outputs [N, ...] through the default delegate on one thread, and its partitions."""
    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    (result,) = interpreter.get_output_details()
    outputs = []
    for row in inputs:
        interpreter.set_tensor(source['index'], row[np.newaxis])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(result['index'])[0])
    # The runtime has no public list of ops; this is what its own analyzer and debugger read.
    ops = interpreter._get_ops_details()
    return np.stack(outputs), sum(op['op_name'] == 'DELEGATE' for op in ops)


if __name__ == '__main__':
    outputs, partitions = run(sys.argv[1], np.load(sys.argv[2]))
    np.save(sys.argv[3], outputs)
    said = {
        'machine': platform.machine(),
        'litert': importlib.metadata.version('ai-edge-litert'),
        'partitions': partitions,
    }
    print(json.dumps(said))
