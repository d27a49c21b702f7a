"""The answers that model libraries must give: compare.py prompts MODEL, compare.py answers FILE

`prompts` prints a line for each prompt: its ids, and how many tokens to generate. `answers` reads what was computed, a JSON
object a line, and fails when tokens or logits are others than in expected.json, which NumPy computed in float64.
"""

import json
import os
import sys

# What a computation in float32 was seen to be off, times seven.
TOLERANCE = 2e-5


def expected():
    with open(os.path.join(os.path.dirname(__file__), "expected.json"), encoding="utf-8") as file:
        return json.load(file)


def prompts(model):
    for case in expected()[model]:
        print(",".join(map(str, case["prompt"])), len(case["tokens"]))


def answers(path):
    known = {
        (model, ",".join(map(str, case["prompt"]))): case for model, cases in expected().items() for case in cases
    }
    failures = count = 0
    with open(path, encoding="utf-8") as file:
        for line in file:
            given = json.loads(line)
            library, answer = given["library"], given["answer"]
            case = known[library.split("-")[0], given["prompt"]]
            off = max(abs(a - b) for a, b in zip(case["logits"], answer["logits"]))
            length = len(case["prompt"])
            if answer["tokens"] == case["tokens"] and off <= TOLERANCE:
                print(f"ok {library}, prompt of {length}: {len(case['tokens'])} tokens, logits within {TOLERANCE}")
            else:
                failures += 1
                print(f"FAILED {library}, prompt of {length}: logits off by {off:.2e}")
                print(f"  {answer['tokens']}, not\n  {case['tokens']}")
            count += 1
    print(f"{count} answers, {failures} wrong")
    sys.exit(failures > 0 or count == 0)


if __name__ == "__main__":
    {"prompts": prompts, "answers": answers}[sys.argv[1]](sys.argv[2])
