"""`tfrcp evaluate` from a checkout, which need not be installed."""

import common

if __name__ == "__main__":
    common.run("evaluate")
