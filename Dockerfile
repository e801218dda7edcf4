# A Prefect worker with Reelbatch: docs/many-machines.md. Nothing secret belongs in here; keys come when it runs.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PREFECT_HOME=/home/reelbatch/.prefect \
    TMPDIR=/var/lib/reelbatch

# TMPDIR: where answers are kept that the results table would not take. Give it a volume.
RUN useradd --create-home --uid 10001 reelbatch \
    && install --directory --owner=reelbatch /app /app/results "$PREFECT_HOME" "$TMPDIR"

# The folder that `prefect deploy` writes down and that workers look for: the same in every container.
WORKDIR /app

COPY requirements.lock ./
RUN pip install --no-deps --require-hashes --requirement requirements.lock

COPY pyproject.toml README.md LICENSE prefect.yaml ./
COPY configs configs
COPY data data
COPY flows flows
COPY tasks tasks
COPY reelbatch reelbatch
RUN pip install --no-deps --no-build-isolation --editable . && pip check

USER 10001

CMD ["prefect", "worker", "start", "--pool", "reelbatch", "--type", "process", "--limit", "1"]
