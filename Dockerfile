# Build:        docker build -t dropscope .
# CPU:          docker run --rm --init -p 127.0.0.1:8501:8501 -v dropscope:/data dropscope
# CUDA:         the same with --gpus all (needs NVIDIA's driver and Container Toolkit on the host)
# One command:  docker run --rm -v dropscope:/data dropscope python -m core train --dataset digits --epochs 3
# The image serves both: torch's wheels carry CUDA and run on a CPU.

FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    DROPSCOPE_HOME=/data

# The dashboard is started by, and the runs belong to, a user without rights.
RUN useradd --create-home --uid 1000 dropscope \
    && install -d -o dropscope -g dropscope /data

WORKDIR /opt/dropscope

# The 6 GB of packages are a layer of their own, made again only when one of these files changes.
COPY LICENSE pyproject.toml requirements.txt ./
RUN pip install -r requirements.txt

COPY core core
COPY models models
COPY checkpoints checkpoints
COPY app app

USER dropscope
VOLUME /data
EXPOSE 8501

HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]

# Inside the container it listens on every address; which addresses of the host reach it is for `docker run -p` to say.
# It therefore asks for an access code where runs are changed: `docker logs` shows it.
# With browser.serverAddress set, Streamlit does not ask the internet for an address to print.
CMD ["streamlit", "run", "app/streamlit_app.py", \
     "--server.address", "0.0.0.0", "--server.port", "8501", "--server.headless", "true", \
     "--browser.serverAddress", "localhost"]
