# Stands in for public base images such as python:3.11-slim-bookworm.
FROM scratch
ADD base.tar /
CMD ["/bin/sh"]
