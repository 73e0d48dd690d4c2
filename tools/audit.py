"""Look for known vulnerabilities in the packages of this Python environment, with pip-audit.

``python tools/audit.py`` exits with 1 if a package has a known vulnerability, and with 0 if none has one, or if the
database cannot be reached: then it prints that nothing was audited, and why. With ``--required`` it fails in that case
as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

OWN: Final = ("rejoinder",)
"""Distributions that are built here, which the database need not know."""


def main(arguments: list[str]) -> int:
    """Run pip-audit, print what it found in sentences, and return the exit code."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--timeout", "15"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, LookupError, TypeError):
        lines = done.stderr.strip().splitlines() or ["pip-audit printed nothing"]
        return _not_audited(lines[-1], required="--required" in arguments)
    return report(packages, required="--required" in arguments)


def report(packages: list[dict[str, Any]], *, required: bool) -> int:
    """Print the vulnerabilities of packages as pip-audit lists them in JSON, and return the exit code."""
    audited = [package for package in packages if "vulns" in package]
    unknown = [package for package in packages if "vulns" not in package and package["name"] not in OWN]
    if not audited:
        reason = unknown[0].get("skip_reason", "") if unknown else "the environment has no packages"
        return _not_audited(reason, required=required)
    found = [(package, vulnerability) for package in audited for vulnerability in package["vulns"]]
    for package, vulnerability in found:
        fixed = ", ".join(vulnerability.get("fix_versions", ())) or "no release"
        print(f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}.")
    for package in unknown:
        print(f"{package['name']}: not audited. {package.get('skip_reason', '')}")
    print(f"{len(audited)} packages audited, {len(found)} known vulnerabilities.")
    return 1 if found or (required and unknown) else 0


def _not_audited(reason: str, *, required: bool) -> int:
    print(f"Nothing was audited: {reason.strip().rstrip('.')}.")
    if not required:
        print("Skipped. Run `tox -e audit` where https://pypi.org can be reached.")
    return int(required)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
