"""The image of a server with python models: NVIDIA's, and the packages that the models' requirements pin."""

from __future__ import annotations

from mlconvert.deployment.triton.description import IMAGE, REQUIREMENTS, USER, Deployment

DOCKERFILE = "Dockerfile"
FILES = (DOCKERFILE, REQUIREMENTS)


def image_files(deployment: Deployment) -> dict[str, str]:
    """The Dockerfile and its requirements; nothing when no model needs a package."""
    if not deployment.requirements:
        return {}
    needing = ", ".join(model.name for model in deployment.models if model.requirements)
    return {
        DOCKERFILE: f"""\
# NVIDIA's server and the packages of its python models: {needing}.
# The models are not in it: they are mounted, read-only.
FROM {IMAGE.format(release=deployment.release)}
COPY {REQUIREMENTS} /opt/mlconvert/{REQUIREMENTS}
# Beside the system's own packages, which is what the server's Python looks at. Older pips ignore the variable.
ENV PIP_BREAK_SYSTEM_PACKAGES=1
RUN python3 -m pip install --no-cache-dir -r /opt/mlconvert/{REQUIREMENTS}
USER {USER}:{USER}
""",
        REQUIREMENTS: "".join(f"{line}\n" for line in deployment.requirements),
    }
