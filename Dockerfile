# One image for all services and the command line: the service is named by the command, the environment by its wiring.
FROM python:3.11-slim AS packages
WORKDIR /app
COPY requirements-run.lock ./
RUN python -m venv venv && venv/bin/pip install --no-cache-dir --require-hashes -r requirements-run.lock

FROM python:3.11-slim
# OpenMP, which LightGBM is linked against; the slim image has none.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY --from=packages /app/venv venv
COPY contracts contracts
COPY libs libs
COPY services services
COPY deploy/policy deploy/policy
ENV PATH=/app/venv/bin:$PATH PYTHONPATH=/app:/app/contracts:/app/libs PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/tmp/sluice-machine-code
RUN printf '#!/app/venv/bin/python\nfrom sluice_cli.main import main\n\nmain()\n' > venv/bin/sluice \
    && chmod +x venv/bin/sluice && python -m compileall -q contracts libs services && useradd --uid 10001 sluice
USER 10001
CMD ["sluice", "--help"]
