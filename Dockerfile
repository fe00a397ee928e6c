# The app. On the CPU: docker build -t hiersum .
# With CUDA: docker build -t hiersum --build-arg TORCH_INDEX=https://pypi.org/simple .
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /src
COPY constraints.txt ./
RUN pip install --constraint constraints.txt --index-url "${TORCH_INDEX}" torch
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
