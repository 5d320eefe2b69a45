"""Heaviest maximal clique of a small graph with signed weights: bitset Bron-Kerbosch with bounds.

Results are nodes, "may be combined" is an edge. A **maximal** clique cannot be extended; with negative weights it need
not be the heaviest clique, so maximality is tracked explicitly (the X set of Bron and Kerbosch, Commun. ACM 16 (1973)
575, with the pivot rule of Tomita et al., Theor. Comput. Sci. 363 (2006) 28). A branch is cut when the weight so far
plus the best that a partition of the candidates into mutually incompatible classes can give is not above the best found.

The graph splits into **blocks**, the connected components of the *in*compatibility graph: members of different blocks
are always combinable (different experiments and runs, for instance), so the heaviest cliques of the blocks add up. Blocks are
small in practice: their maximal cliques are listed once, and only blocks with very many are searched.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from inference.types import FloatArray, IntArray

BoolMatrix = NDArray[np.bool_]
Bits = NDArray[np.uint64]

MAX_BLOCK_SIZE = 256
MAX_LISTED_CLIQUES = 256
"""Maximal cliques of a block that are listed once instead of searched for every set of weights."""


@njit(cache=True)
def _count_bits(word: np.uint64) -> int:
    count = 0
    while word != np.uint64(0):
        word &= word - np.uint64(1)
        count += 1
    return count


@njit(cache=True)
def _lowest_bit(word: np.uint64) -> int:
    position = 0
    if word & np.uint64(0xFFFFFFFF) == np.uint64(0):
        word >>= np.uint64(32)
        position += 32
    if word & np.uint64(0xFFFF) == np.uint64(0):
        word >>= np.uint64(16)
        position += 16
    if word & np.uint64(0xFF) == np.uint64(0):
        word >>= np.uint64(8)
        position += 8
    while word & np.uint64(1) == np.uint64(0):
        word >>= np.uint64(1)
        position += 1
    return position


@njit(cache=True)
def build_adjacency(is_combinable: BoolMatrix, nodes: NDArray[np.int64]) -> Bits:
    """Adjacency bitsets of the listed nodes among themselves, shape (num_nodes, num_words)."""
    size = nodes.shape[0]
    num_words = (size + 63) // 64
    adjacency = np.zeros((size, max(num_words, 1)), dtype=np.uint64)
    for i in range(size):
        for j in range(size):
            if i != j and is_combinable[nodes[i], nodes[j]]:
                adjacency[i, j // 64] |= np.uint64(1) << np.uint64(j % 64)
    return adjacency


@njit(cache=True)
def _bound(candidates: Bits, adjacency: Bits, weights: FloatArray, scratch: Bits, rest: Bits) -> float:
    """Upper bound of what candidates can add: one best positive weight per class of mutually incompatible nodes."""
    num_words = candidates.shape[0]
    total = 0.0
    for w in range(num_words):
        rest[w] = candidates[w]
    while True:
        is_empty = True
        for w in range(num_words):
            scratch[w] = rest[w]
            if rest[w] != np.uint64(0):
                is_empty = False
        if is_empty:
            return total
        best = 0.0
        for w in range(num_words):
            while scratch[w] != np.uint64(0):
                node = 64 * w + _lowest_bit(scratch[w])
                bit = np.uint64(1) << np.uint64(node % 64)
                scratch[w] &= ~bit
                rest[w] &= ~bit
                for v in range(num_words):
                    scratch[v] &= ~adjacency[node, v]
                best = max(best, weights[node])
        total += best


@njit(cache=True)
def heaviest_maximal_clique(adjacency: Bits, weights: FloatArray, floor: float, members: NDArray[np.bool_]) -> float:
    """Largest Σ weights over the maximal cliques of one block, if it exceeds `floor`.

    Args:
        adjacency: bitsets, shape (num_nodes, num_words).
        weights: signed weights, shape (num_nodes,).
        floor: only cliques heavier than this count; -inf for all.
        members: output, True for the members of the heaviest maximal clique; the first found in a fixed order of
            search among equal ones. Untouched if no clique exceeds the floor.

    Returns:
        The weight, or `floor` if no maximal clique exceeds it.
    """
    size = weights.shape[0]
    num_words = adjacency.shape[1]
    zero, one = np.uint64(0), np.uint64(1)
    candidates = np.zeros((size + 1, num_words), dtype=np.uint64)
    excluded = np.zeros((size + 1, num_words), dtype=np.uint64)
    branches = np.zeros((size + 1, num_words), dtype=np.uint64)
    scratch = np.zeros(num_words, dtype=np.uint64)
    rest = np.zeros(num_words, dtype=np.uint64)
    chosen = np.zeros(size + 1, dtype=np.int64)
    weight = np.zeros(size + 1)
    best = floor
    for i in range(size):
        candidates[0, i // 64] |= one << np.uint64(i % 64)
    depth = 0
    is_entering = True
    while depth >= 0:
        if is_entering:
            is_entering = False
            num_candidates = 0
            num_excluded = 0
            for w in range(num_words):
                num_candidates += _count_bits(candidates[depth, w])
                num_excluded += _count_bits(excluded[depth, w])
                branches[depth, w] = zero
            if num_candidates == 0:
                if num_excluded == 0 and weight[depth] > best:
                    best = weight[depth]
                    members[:] = False
                    for d in range(depth):
                        members[chosen[d]] = True
            elif weight[depth] + _bound(candidates[depth], adjacency, weights, scratch, rest) > best:
                # pivot: the node (candidate or excluded) that leaves the fewest branches
                pivot = -1
                most = -1
                for i in range(size):
                    w, bit = i // 64, one << np.uint64(i % 64)
                    if (candidates[depth, w] | excluded[depth, w]) & bit != zero:
                        count = 0
                        for v in range(num_words):
                            count += _count_bits(candidates[depth, v] & adjacency[i, v])
                        if count > most:
                            most, pivot = count, i
                for w in range(num_words):
                    branches[depth, w] = candidates[depth, w] & ~adjacency[pivot, w]
        # next branch: the heaviest node first, ties by position
        node = -1
        heaviest = -np.inf
        for w in range(num_words):
            word = branches[depth, w]
            while word != zero:
                i = 64 * w + _lowest_bit(word)
                word &= word - one
                if node < 0 or weights[i] > heaviest:
                    node, heaviest = i, weights[i]
        if node < 0:
            depth -= 1
            continue
        w, bit = node // 64, one << np.uint64(node % 64)
        branches[depth, w] &= ~bit
        candidates[depth, w] &= ~bit
        for v in range(num_words):
            candidates[depth + 1, v] = candidates[depth, v] & adjacency[node, v]
            excluded[depth + 1, v] = excluded[depth, v] & adjacency[node, v]
        excluded[depth, w] |= bit
        chosen[depth] = node
        weight[depth + 1] = weight[depth] + weights[node]
        depth += 1
        is_entering = True
    return best


@njit(cache=True)
def label_blocks(is_combinable: BoolMatrix) -> NDArray[np.int64]:
    """Block number per node: connected components of the incompatibility graph, numbered by first member."""
    size = is_combinable.shape[0]
    label = np.full(size, -1, dtype=np.int64)
    queue = np.empty(size, dtype=np.int64)
    block = 0
    for start in range(size):
        if label[start] >= 0:
            continue
        label[start] = block
        queue[0] = start
        head, tail = 0, 1
        while head < tail:
            node = queue[head]
            head += 1
            for other in range(size):
                if label[other] < 0 and not is_combinable[node, other]:
                    label[other] = block
                    queue[tail] = other
                    tail += 1
        block += 1
    return label


@njit(cache=True)
def _list_block(adjacency: Bits, nodes: NDArray[np.int64], out_start: IntArray, out_nodes: IntArray, first: int, filled: int) -> int:
    """Write all maximal cliques of one block behind the first ones; their number, or -1 if there is no room for them."""
    size = nodes.shape[0]
    num_words = adjacency.shape[1]
    zero, one = np.uint64(0), np.uint64(1)
    candidates = np.zeros((size + 1, num_words), dtype=np.uint64)
    excluded = np.zeros((size + 1, num_words), dtype=np.uint64)
    branches = np.zeros((size + 1, num_words), dtype=np.uint64)
    chosen = np.zeros(size + 1, dtype=np.int64)
    for i in range(size):
        candidates[0, i // 64] |= one << np.uint64(i % 64)
    depth, found = 0, 0
    is_entering = True
    while depth >= 0:
        if is_entering:
            is_entering = False
            is_leaf, is_maximal = True, True
            for w in range(num_words):
                is_leaf = is_leaf and candidates[depth, w] == zero
                is_maximal = is_maximal and excluded[depth, w] == zero
                branches[depth, w] = zero
            if is_leaf:
                if is_maximal:
                    if first + found + 1 >= out_start.shape[0] or filled + depth > out_nodes.shape[0]:
                        return -1
                    for d in range(depth):
                        out_nodes[filled] = nodes[chosen[d]]
                        filled += 1
                    found += 1
                    out_start[first + found] = filled
            else:
                pivot, most = -1, -1
                for i in range(size):
                    w, bit = i // 64, one << np.uint64(i % 64)
                    if (candidates[depth, w] | excluded[depth, w]) & bit != zero:
                        count = 0
                        for v in range(num_words):
                            count += _count_bits(candidates[depth, v] & adjacency[i, v])
                        if count > most:
                            most, pivot = count, i
                for w in range(num_words):
                    branches[depth, w] = candidates[depth, w] & ~adjacency[pivot, w]
        node = -1
        for w in range(num_words):
            if branches[depth, w] != zero:
                node = 64 * w + _lowest_bit(branches[depth, w])
                break
        if node < 0:
            depth -= 1
            continue
        w, bit = node // 64, one << np.uint64(node % 64)
        branches[depth, w] &= ~bit
        candidates[depth, w] &= ~bit
        for v in range(num_words):
            candidates[depth + 1, v] = candidates[depth, v] & adjacency[node, v]
            excluded[depth + 1, v] = excluded[depth, v] & adjacency[node, v]
        excluded[depth, w] |= bit
        chosen[depth] = node
        depth += 1
        is_entering = True
    return found


class Graph(NamedTuple):
    """A graph in blocks, as compiled code reads it.

    Attributes:
        nodes: nodes, block after block.
        node_start: first of each block, shape (num_blocks + 1,).
        adjacency: bitsets within each block, row i for nodes[i].
        block_clique: first listed maximal clique of each block, shape (num_blocks + 1,); blocks with too many list none.
        clique_start: first entry of each listed clique in clique_nodes.
        clique_nodes: members of the listed cliques.
    """

    nodes: NDArray[np.int64]
    node_start: NDArray[np.int64]
    adjacency: Bits
    block_clique: IntArray
    clique_start: IntArray
    clique_nodes: IntArray


@njit(cache=True)
def heaviest_of_blocks(weights: FloatArray, graph: Graph, is_member: NDArray[np.bool_]) -> float:
    """Sum of the blocks' heaviest maximal cliques; `is_member` in the numbering of the whole graph."""
    total = 0.0
    is_member[:] = False
    for block in range(graph.node_start.shape[0] - 1):
        first, last = graph.block_clique[block], graph.block_clique[block + 1]
        if first < last:
            best, winner = -np.inf, first
            for clique in range(first, last):
                weight = 0.0
                for k in range(graph.clique_start[clique], graph.clique_start[clique + 1]):
                    weight += weights[graph.clique_nodes[k]]
                if weight > best:
                    best, winner = weight, clique
            total += best
            for k in range(graph.clique_start[winner], graph.clique_start[winner + 1]):
                is_member[graph.clique_nodes[k]] = True
            continue
        start, stop = graph.node_start[block], graph.node_start[block + 1]
        local = np.empty(stop - start)
        for i in range(start, stop):
            local[i - start] = weights[graph.nodes[i]]
        chosen = np.zeros(stop - start, dtype=np.bool_)
        total += heaviest_maximal_clique(graph.adjacency[start:stop], local, -np.inf, chosen)
        for i in range(start, stop):
            is_member[graph.nodes[i]] = chosen[i - start]
    return total


@njit(cache=True)
def _build_graph(matrix: BoolMatrix, label: NDArray[np.int64], max_listed: int) -> Graph:
    size = matrix.shape[0]
    num_blocks = 0
    for i in range(size):
        num_blocks = max(num_blocks, label[i] + 1)
    node_start = np.zeros(num_blocks + 1, dtype=np.int64)
    for i in range(size):
        node_start[label[i] + 1] += 1
    largest = 0
    for block in range(num_blocks):
        largest = max(largest, node_start[block + 1])
        node_start[block + 1] += node_start[block]
    nodes, position = np.empty(size, dtype=np.int64), node_start[:-1].copy()
    for i in range(size):
        nodes[position[label[i]]] = i
        position[label[i]] += 1
    adjacency = np.zeros((size, max(1, (largest + 63) // 64)), dtype=np.uint64)
    block_clique = np.zeros(num_blocks + 1, dtype=np.int32)
    clique_start = np.zeros(max_listed * num_blocks + size + 1, dtype=np.int32)
    clique_nodes = np.empty((max_listed + 1) * max(size, 1), dtype=np.int32)
    for block in range(num_blocks):
        start, stop = node_start[block], node_start[block + 1]
        first = block_clique[block]
        filled = clique_start[first]
        block_clique[block + 1] = first
        if stop - start == 1:
            clique_nodes[filled] = nodes[start]
            clique_start[first + 1] = filled + 1
            block_clique[block + 1] = first + 1
            continue
        rows = build_adjacency(matrix, nodes[start:stop])
        adjacency[start:stop, : rows.shape[1]] = rows
        room = min(clique_start.shape[0], first + max_listed + 1)
        found = _list_block(rows, nodes[start:stop], clique_start[:room], clique_nodes, first, filled)
        if found > 0:
            block_clique[block + 1] = first + found
    num_cliques = block_clique[num_blocks]
    used = clique_start[num_cliques]
    return Graph(nodes, node_start, adjacency, block_clique, clique_start[: num_cliques + 1].copy(), clique_nodes[:used].copy())


class CliqueSearch:
    """Heaviest maximal clique of a graph, block by block.

    The maximal cliques of a block are listed once, if there are at most `max_listed`; a new set of weights then costs a few
    additions per clique. Blocks with more are searched with bounds.

    Args:
        is_combinable: symmetric, shape (num_nodes, num_nodes); the diagonal is ignored.
        max_listed: cliques listed per block at most.

    Raises:
        ValueError: if a block has more than 256 nodes.
    """

    def __init__(self, is_combinable: BoolMatrix, max_listed: int = MAX_LISTED_CLIQUES) -> None:
        matrix = np.ascontiguousarray(is_combinable, dtype=np.bool_)
        self.num_nodes = matrix.shape[0]
        self.graph: Graph = _build_graph(matrix, label_blocks(matrix), max_listed)
        sizes = np.diff(self.graph.node_start)
        if sizes.size and sizes.max() > MAX_BLOCK_SIZE:
            raise ValueError(f"more than {MAX_BLOCK_SIZE} mutually entangled results in one combination")

    def heaviest(self, weights: FloatArray) -> tuple[float, NDArray[np.bool_]]:
        """Weight of the heaviest maximal clique and who is in it, shape (num_nodes,).

        Examples:
            A path a-b-c: the maximal cliques are {a, b} and {b, c}, although {b} alone would be heavier.

            >>> search = CliqueSearch(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=bool))
            >>> weight, is_member = search.heaviest(np.array([-2.0, 5.0, -1.0]))
            >>> float(weight), np.flatnonzero(is_member).tolist()
            (4.0, [1, 2])
        """
        is_member = np.zeros(self.num_nodes, dtype=np.bool_)
        total = float(heaviest_of_blocks(weights, self.graph, is_member))
        return total, is_member
