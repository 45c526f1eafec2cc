"""Checkpoint folders, byte by byte, without any library that could share a mistake with the product."""

import dataclasses
import hashlib
import json
import math
import re

import numpy as np

from verdict import require

SIZES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}
PRUNED_LINEAR = re.compile(
    r"model\.(?:decoder\.)?layers\.(?P<text>\d+)\.(?:(?:self_attn|mlp)\.\w+_proj|fc[12])\.weight"
    r"|vit\.encoder\.layer\.(?P<image>\d+)\.(?:attention\.attention\.(?:query|key|value)|(?:attention\.output|intermediate|output)\.dense)\.weight"
)


@dataclasses.dataclass(frozen=True)
class Tensor:
    dtype: str
    shape: tuple
    data: bytes

    def bits(self):
        """The entries as unsigned integers of their own width, in the tensor's shape."""
        return np.frombuffer(self.data, f"<u{SIZES[self.dtype]}").reshape(self.shape)

    def zeros(self):
        """True where the value is +0.0 or -0.0."""
        bits = self.bits()
        return (bits << bits.dtype.type(1)) == 0

    def negative_zeros(self):
        bits = self.bits()
        return bits == (1 << (8 * bits.itemsize - 1))


def split_file(path):
    """The header, as a dictionary, and the bytes after it."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join_file(path, header, data):
    """Writes a safetensors file; the header is a dictionary, or text that is taken as it is."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def read_file(path):
    header, data = split_file(path)
    tensors, position = {}, 0
    header.pop("__metadata__", None)
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        require(begin == position, f"{path.name}: {name} begins at {begin}, the tensor before it ends at {position}")
        require(end - begin == math.prod(entry["shape"]) * SIZES[entry["dtype"]], f"{path.name}: {name} has a wrong size")
        tensors[name] = Tensor(entry["dtype"], tuple(entry["shape"]), data[begin:end])
        position = end
    require(position == len(data), f"{path.name}: {len(data) - position} bytes after the last tensor")
    return tensors


def read_folder(folder):
    """All tensors of a checkpoint; the index, if there is one, has to tell exactly what the shards hold."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return read_file(folder / "model.safetensors")
    described = json.loads(index.read_text())
    where = described["weight_map"]
    tensors = {}
    for shard in sorted(set(where.values())):
        found = read_file(folder / shard)
        listed = {name for name, file in where.items() if file == shard}
        require(set(found) == listed, f"{shard} holds other tensors than the index says: {set(found) ^ listed}")
        tensors.update(found)
    stray = {file.name for file in folder.glob("*.safetensors")} - set(where.values())
    require(not stray, f"shards that no index names: {stray}")
    total = sum(len(tensor.data) for tensor in tensors.values())
    claimed = described.get("metadata", {}).get("total_size", total)
    require(claimed == total, f"total_size is {claimed}, the tensors have {total} bytes")
    return tensors


def digests(folder):
    """Relative path → SHA-256 of every file but those under _owl/, where a run keeps its notes (times among them)."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.relative_to(folder).parts[0] != "_owl"
    }


def require_same_folder(first, second, what):
    left, right = digests(first), digests(second)
    different = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
    require(not different, f"{what}: these files differ: {different}")


def linears_of_blocks(tensors):
    """Block index → names of its linears."""
    blocks = {}
    for name in tensors:
        match = PRUNED_LINEAR.fullmatch(name)
        if match:
            blocks.setdefault(int(match["text"] or match["image"]), []).append(name)
    return blocks
