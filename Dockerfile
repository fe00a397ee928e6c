# The app: docker build -t hiersum .
# With another build of PyTorch, for the CPU alone say: --build-arg TORCH="torch --index-url ADDRESS", as pytorch.org tells
FROM python:3.11-slim

ARG TORCH=torch
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /src
COPY constraints.txt ./
# hadolint ignore=SC2086
RUN pip install --constraint constraints.txt ${TORCH}
COPY pyproject.toml README.md LICENSE ./
COPY modeling/ modeling/
COPY hiersum_hf/ hiersum_hf/
RUN pip install --constraint constraints.txt ".[app,mcp,offline,onnx]" \
    && useradd --create-home --uid 1000 hiersum \
    && install -d -o 1000 /home/hiersum/.cache

USER 1000
WORKDIR /home/hiersum
ENV MPLCONFIGDIR=/tmp/matplotlib
EXPOSE 7860
HEALTHCHECK --interval=30s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860')"]
ENTRYPOINT ["hiersum", "app", "--host", "0.0.0.0", "--port", "7860"]
CMD ["--mcp"]
