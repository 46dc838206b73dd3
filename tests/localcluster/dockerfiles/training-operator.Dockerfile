# The Kubeflow training operator.
FROM scratch
COPY manager /manager
ENTRYPOINT ["/manager"]
