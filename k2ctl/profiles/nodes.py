"""What a rented node has, and what of it is left for pods on Kubernetes."""

from dataclasses import dataclass
from typing import Final

_VCPUS: Final = {"large": 2, "xlarge": 4}
_GIB_PER_VCPU: Final = {"c": 2, "m": 4, "r": 8}
_PODS: Final = {"large": 29, "xlarge": 58, "2xlarge": 58}
_PODS_OF_LARGER: Final = 234
"""Pods by the addresses of a node's network interfaces (eni-max-pods.txt of the Amazon EKS AMI)."""

HYPERVISOR_SHARE: Final = 0.075
"""Of the memory, what the hypervisor and the kernel keep (Karpenter's default, VM_MEMORY_OVERHEAD_PERCENT)."""
KUBELET_MIB: Final = 255
KUBELET_MIB_PER_POD: Final = 11
EVICTION_MIB: Final = 100
"""Reserved on every EKS node (eksctl, pkg/nodebootstrap/reserved.go; Bottlerocket has the same rule)."""
_CPU_RESERVED: Final = ((1.0, 0.06), (2.0, 0.01), (4.0, 0.005), (float("inf"), 0.0025))
"""Up to so many cores, the reserved share of each (the same source)."""

SYSTEM_PODS_CORES: Final = 0.25
SYSTEM_PODS_MIB: Final = 512
"""Network, proxy, metrics and logs run on every node: assumed, confidence low."""


def vcpus(node: str) -> int:
    """The vCPUs of an EC2 type by its size: large 2, xlarge 4, 4xlarge 16."""
    size = _size(node)
    return _VCPUS[size] if size in _VCPUS else 4 * int(size.removesuffix("xlarge"))


def memory_gib(node: str) -> int:
    """The memory of an EC2 type by its family: c 2, m 4, r 8 GiB per vCPU."""
    return vcpus(node) * _GIB_PER_VCPU[node[0]]


def _size(node: str) -> str:
    return node.rsplit(".", 1)[-1]


@dataclass(frozen=True)
class NodeRoom:
    """What a node has for the pods of a platform."""

    cores: float
    # Of 10^6 bytes, as in a profile.
    memory_mb: float

    def holds(self, cores: float, memory_mb: float) -> int:
        """How many pods of this size fit on the node."""
        return max(0, int(min(self.cores / cores, self.memory_mb / memory_mb)))


def room_of(node: str) -> NodeRoom:
    """A node less what hypervisor, kubelet and the pods of every node take."""
    cores, before, reserved = float(vcpus(node)), 0.0, 0.0
    for bound, share in _CPU_RESERVED:
        reserved += max(0.0, min(cores, bound) - before) * share
        before = bound
    kubelet_mib = KUBELET_MIB + KUBELET_MIB_PER_POD * _PODS.get(_size(node), _PODS_OF_LARGER) + EVICTION_MIB
    memory_mib = memory_gib(node) * 1024 * (1 - HYPERVISOR_SHARE) - kubelet_mib - SYSTEM_PODS_MIB
    return NodeRoom(cores - reserved - SYSTEM_PODS_CORES, memory_mib * 2**20 / 1e6)
