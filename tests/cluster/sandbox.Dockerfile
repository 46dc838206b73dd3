# The sandbox, and programs that try to get out of it: it needs nothing but Python.
ARG PYTHON_IMAGE
FROM ${PYTHON_IMAGE}
COPY branchmerge_trainer /attacks/branchmerge_trainer
COPY attacks.py /attacks/attacks.py
ENV PYTHONPATH=/attacks PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["python", "/attacks/attacks.py"]
