"""Acts on Kubernetes: the operator. Never imports torch.

`observe` and `manifests` are pure; `cluster` is the only client; `controller` joins them with the core.
"""
