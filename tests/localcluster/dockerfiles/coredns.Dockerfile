# The DNS of the cluster.
FROM scratch
COPY coredns /coredns
ENTRYPOINT ["/coredns"]
