# A stand-in for the trainer's image that keeps the contract of a stage and computes nothing; see quick_trainer.py.
ARG PYTHON_IMAGE
FROM ${PYTHON_IMAGE}
COPY quick_trainer.py /quick/branchmerge_trainer/__main__.py
COPY quick_cleanup.py /quick/branchmerge_trainer/cleanup.py
ENV PYTHONPATH=/quick PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
