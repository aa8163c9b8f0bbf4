"""How a repository gets onto a cluster's volume while servers read it: copied beside, then renamed in.

A server tries every folder of a model that is named by a number within a second. So nothing is copied to such a name.
"""

from __future__ import annotations

from typing import Any

from mlconvert.deployment import manifests
from mlconvert.deployment.manifests import Place

ARRIVING = ".arriving"  # on the volume; servers look into the folders of models alone
SCRIPT = "place.sh"
AT = "/fill"  # where the pod sees the script


def place_script(mount: str) -> str:
    """The script that puts what was copied in its place: versions first, models.config, then what is no longer there.

    A version that is there is never replaced. Where one differs from what was copied, nothing is done (exit status 1).
    """
    return f"""\
# What was copied to {ARRIVING} takes its place: versions first, then models.config, then old versions leave.
set -eu
shopt -s nullglob
cd "${{1:-{mount}}}"
arriving=./{ARRIVING}
leaving=./.leaving
rm -rf "$leaving"
if [ ! -e "$arriving/models.config" ]; then
  echo "there is no $PWD/{ARRIVING}/models.config: copy the repository to $PWD/{ARRIVING} first" >&2
  exit 1
fi
for path in "$arriving"/*/[0-9]*/; do
  version=${{path#"$arriving"/}}
  if [ -e "./$version" ] && ! diff -r -q "./$version" "$path" >&2; then
    echo "${{version%/}} is there with other contents: publish under another number. Nothing was changed." >&2
    rm -rf "$arriving"
    exit 1
  fi
done
for path in "$arriving"/*/[0-9]*/; do
  version=${{path#"$arriving"/}}
  version=${{version%/}}
  if [ ! -e "./$version" ]; then
    mkdir -p "./${{version%/*}}"
    mv -T "$arriving/$version" "./$version"
    printf '%s: new\\n' "$version"
  fi
  mkdir -p "$arriving/$version"
done
for file in monitoring.config batching.config models.config; do
  if [ -e "$arriving/$file" ]; then
    mv -T "$arriving/$file" "./$file"
  fi
done
printf '%s\\n' ./*/[0-9]*/ | sort -V | while read -r path; do
  version=${{path#./}}
  version=${{version%/}}
  if [ ! -e "$arriving/$version" ]; then
    mkdir -p "$leaving/${{version%/*}}"
    mv -T "./$version" "$leaving/$version"
    printf '%s: gone\\n' "$version"
  fi
done
rm -rf "$arriving" "$leaving"
"""


def script_map(place: Place, mount: str) -> dict[str, Any]:
    """The script as the cluster keeps it."""
    data = {"data": {SCRIPT: place_script(mount)}}
    return {**place.head("v1", "ConfigMap", suffix="-fill"), **data}


def fill_pod(place: Place, image: str, owner: dict[str, Any], mount: str) -> dict[str, Any]:
    return manifests.filler(
        place,
        image,
        owner=owner,
        mount=mount,
        command=("bash", "-c", f"rm -rf {mount}/{ARRIVING} && sleep 3600"),
        volumes=(
            (
                {"name": "script", "configMap": {"name": f"{place.name}-fill"}},
                {"name": "script", "mountPath": AT, "readOnly": True},
            ),
        ),
    )


def filled(place: Place, mount: str, restarted: list[str]) -> str:
    """What to do, for the comment above the volume. `restarted`: files that a server reads only when it starts."""
    pod = f"{place.name}-fill"
    lines = [
        "Filled from outside, before the first start and again for each new version:",
        "  kubectl apply -f fill",
        f"  kubectl wait{place.option} --for=condition=Ready pod/{pod}",
        f"  kubectl cp{place.option} REPOSITORY/. {pod}:{mount}/{ARRIVING} && \\",
        f"  kubectl exec{place.option} {pod} -- bash {AT}/{SCRIPT}",
        "  kubectl delete -f fill",
        "Servers that run follow by themselves.",
    ]
    if restarted:
        lines[-1] = f"Servers that run follow by themselves, but for {' and '.join(restarted)}:"
        lines.append(f"  kubectl rollout restart{place.option} deployment/{place.name}")
    return "\n".join(lines)
