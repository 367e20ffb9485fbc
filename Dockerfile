# One image for api, worker and migrate; docker-compose.yml says which verb each runs.
FROM python:3.11-slim
RUN useradd --create-home graphsvc && mkdir /data && chown graphsvc /data
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY graphsvc graphsvc
COPY kge kge
COPY ranking ranking
COPY api api
COPY migrations migrations
RUN pip install --no-cache-dir --constraint constraints.txt torch==2.13.0 \
    && pip install --no-cache-dir --constraint constraints.txt .
USER graphsvc
ENV GRAPHSVC_DATA_DIR=/data OMP_NUM_THREADS=1
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/ready', timeout=2)"]
# Inside a container the loopback is the container's own; the compose file publishes the port on
# the host's loopback only.
ENV GRAPHSVC_HOST=0.0.0.0
CMD ["graphsvc", "serve"]
