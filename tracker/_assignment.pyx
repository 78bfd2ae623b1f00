# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Who matches whom at least total cost, compiled: gives what tracker.association.associate gives, ties included.

Pairs that may match form a graph of tracks and detections. It falls apart into small blocks that have nothing to do
with each other; nearly all are one track and one detection. The others are solved by Jonker and Volgenant's shortest
augmenting paths (Computing 38, 1987). Among equally good assignments the order in which rows and columns are looked at
decides, so that order is the one of the `lap` package, which the NumPy build and the published tracker use.
"""

from libc.stdlib cimport free, realloc

from tracker.association import NEVER as _NEVER

cdef double NEVER = _NEVER
cdef double INFINITE = float("inf")


cdef class Matcher:
    """Collects pairs that may match (`begin`, then `add` row by row) and chooses among them (`solve`).

    Attributes:
        row_partner: (n_rows,), the column of each row, or -1.
        column_partner: (n_columns,), the row of each column, or -1.
    """

    def __dealloc__(self):
        free(self.pairs)
        free(self.nodes)
        free(self.block)

    cdef int begin(self, Py_ssize_t n_rows, Py_ssize_t n_columns) except -1:
        """Forget all pairs; nobody has a partner."""
        cdef Py_ssize_t i, n = n_rows + n_columns
        if n >= self.node_room:
            # Partners, four lists of `solve`, five of `search`.
            self.nodes = <Py_ssize_t*>resized(self.nodes, 10 * (2 * n + 8) * sizeof(Py_ssize_t))
            self.node_room = 2 * n + 8
        self.n_rows, self.n_columns, self.n_pairs = n_rows, n_columns, 0
        self.row_partner = self.nodes
        self.column_partner = self.nodes + n_rows
        for i in range(n):
            self.nodes[i] = -1
        return 0

    cdef int add(self, Py_ssize_t row, Py_ssize_t column, double cost) except -1:
        """Allow a pair; rows must not fall from one call to the next."""
        if self.n_pairs == self.pair_room:
            self.pairs = <Pair*>resized(self.pairs, (2 * self.pair_room + 64) * sizeof(Pair))
            self.pair_room = 2 * self.pair_room + 64
        self.pairs[self.n_pairs] = Pair(row, column, cost)
        self.n_pairs += 1
        return 0

    cdef int solve(self, double max_cost) except -1:
        """Choose; no pair may cost more than `max_cost`."""
        cdef Py_ssize_t n = self.n_rows + self.n_columns, node, root, k
        cdef Py_ssize_t* above = self.nodes + self.node_room
        cdef Py_ssize_t* first = self.nodes + 2 * self.node_room
        cdef Py_ssize_t* following = self.nodes + 3 * self.node_room
        cdef Py_ssize_t* row_start = self.nodes + 4 * self.node_room
        # Nodes of the graph: rows, then columns. A node's root, found by going up, names its block.
        for node in range(n):
            above[node] = node
            first[node] = -1
        for node in range(self.n_rows + 1):
            row_start[node] = 0
        for k in range(self.n_pairs):
            row_start[self.pairs[k].row + 1] += 1
            join(above, self.pairs[k].row, self.n_rows + self.pairs[k].column)
        for node in range(self.n_rows):
            row_start[node + 1] += row_start[node]
        # A list per block; built from the end, so that it runs through rows, then columns, ascending.
        for node in range(n - 1, -1, -1):
            root = root_of(above, node)
            following[node] = first[root]
            first[root] = node
        for node in range(n):
            if first[node] >= 0 and following[first[node]] >= 0:
                self.solve_block(first[node], following, above, row_start, max_cost)
        return 0

    cdef int solve_block(
        self, Py_ssize_t first, Py_ssize_t* following, Py_ssize_t* number, Py_ssize_t* row_start, double max_cost
    ) except -1:
        """Choose within the block whose nodes are `first` and what follows it; `number` is scratch."""
        cdef Py_ssize_t n_rows = 0, n_columns = 0, size, node, i, k
        node = first
        while node >= 0:
            if node < self.n_rows:
                number[node] = n_rows
                n_rows += 1
            else:
                number[node] = n_columns
                n_columns += 1
            node = following[node]
        if n_rows == 1 and n_columns == 1:
            self.row_partner[first] = following[first] - self.n_rows
            self.column_partner[following[first] - self.n_rows] = first
            return 0
        # Every row and column gets a stand-in to match for half the limit, so that leaving both ends of a pair alone
        # costs the limit; stand-ins match each other for nothing.
        size = n_rows + n_columns
        if size * (size + 2) > self.block_room:
            self.block = <double*>resized(self.block, size * (size + 2) * sizeof(double))
            self.block_room = size * (size + 2)
        cdef double* cost = self.block
        for i in range(n_rows):
            for k in range(n_columns):
                cost[i * size + k] = NEVER
            for k in range(n_columns, size):
                cost[i * size + k] = max_cost / 2
        for i in range(n_rows, size):
            for k in range(n_columns):
                cost[i * size + k] = max_cost / 2
            for k in range(n_columns, size):
                cost[i * size + k] = 0
        node = first
        while node < self.n_rows:
            for k in range(row_start[node], row_start[node + 1]):
                cost[number[node] * size + number[self.n_rows + self.pairs[k].column]] = self.pairs[k].cost
            node = following[node]
        cdef Py_ssize_t* scratch = self.nodes + 5 * self.node_room
        search(size, cost, cost + size * size, cost + size * (size + 1), scratch)
        cdef Py_ssize_t* column_of = scratch
        cdef Py_ssize_t* columns = scratch + size
        while node >= 0:  # from the block's first column on
            columns[number[node]] = node - self.n_rows
            node = following[node]
        node = first
        while node < self.n_rows:
            k = column_of[number[node]]
            if k < n_columns:
                self.row_partner[node] = columns[k]
                self.column_partner[columns[k]] = node
            node = following[node]
        return 0


cdef void* resized(void* memory, size_t n_bytes) except NULL:
    cdef void* larger = realloc(memory, n_bytes)
    if larger == NULL:
        raise MemoryError
    return larger


cdef inline Py_ssize_t root_of(Py_ssize_t* above, Py_ssize_t node) noexcept nogil:
    while above[node] != node:
        above[node] = above[above[node]]
        node = above[node]
    return node


cdef inline void join(Py_ssize_t* above, Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    a, b = root_of(above, a), root_of(above, b)
    if a < b:
        above[b] = a
    else:
        above[a] = b


cdef void search(Py_ssize_t n, const double* cost, double* price, double* distance, Py_ssize_t* scratch) noexcept nogil:
    """Fill scratch[:n] with the column of each row of the square matrix `cost` (n, n): least total cost.

    Args:
        n: rows and columns.
        cost: the matrix, row by row.
        price: (n,) scratch, the columns' dual variables.
        distance: (n,) scratch.
        scratch: (5 n,) scratch.
    """
    cdef Py_ssize_t* column_of = scratch
    cdef Py_ssize_t* row_of = scratch + n
    cdef Py_ssize_t* free_rows = scratch + 2 * n
    cdef Py_ssize_t n_free = reduce_columns(n, cost, price, column_of, row_of, free_rows, scratch + 3 * n)
    cdef Py_ssize_t turn, k
    for turn in range(2):
        if n_free:
            n_free = reduce_rows(n, cost, price, column_of, row_of, free_rows, n_free)
    for k in range(n_free):
        augment(n, cost, price, column_of, row_of, free_rows[k], distance, scratch + 3 * n, scratch + 4 * n)


cdef Py_ssize_t reduce_columns(
    Py_ssize_t n,
    const double* cost,
    double* price,
    Py_ssize_t* column_of,
    Py_ssize_t* row_of,
    Py_ssize_t* free_rows,
    Py_ssize_t* n_wins,
) noexcept nogil:
    """Give each column's cheapest row that column, the last column first; return how many rows are left free."""
    cdef Py_ssize_t i, j, n_free = 0
    cdef double least, reduced
    for i in range(n):
        column_of[i] = -1
        n_wins[i] = 0
    for j in range(n):
        price[j] = cost[j]
        row_of[j] = 0
    for i in range(1, n):
        for j in range(n):
            if cost[i * n + j] < price[j]:
                price[j] = cost[i * n + j]
                row_of[j] = i
    for j in range(n - 1, -1, -1):
        i = row_of[j]
        n_wins[i] += 1
        if column_of[i] < 0:
            column_of[i] = j
        else:
            row_of[j] = -1
    for i in range(n):
        if column_of[i] < 0:
            free_rows[n_free] = i
            n_free += 1
        elif n_wins[i] == 1:
            # Transfer: the column may become as cheap as the row's next best choice.
            least = INFINITE
            for j in range(n):
                reduced = cost[i * n + j] - price[j]
                if j != column_of[i] and reduced < least:
                    least = reduced
            price[column_of[i]] -= least
    return n_free


cdef Py_ssize_t reduce_rows(
    Py_ssize_t n,
    const double* cost,
    double* price,
    Py_ssize_t* column_of,
    Py_ssize_t* row_of,
    Py_ssize_t* free_rows,
    Py_ssize_t n_free,
) noexcept nogil:
    """Let each free row take its best column from whoever has it; return how many rows are then free."""
    cdef Py_ssize_t current = 0, n_left = 0, n_done = 0, row, loser, j, best, second
    cdef double reduced, least, next_least, lower
    cdef bint again
    while current < n_free:
        n_done += 1
        row = free_rows[current]
        current += 1
        best, second = 0, -1
        least, next_least = cost[row * n] - price[0], INFINITE
        for j in range(1, n):
            reduced = cost[row * n + j] - price[j]
            if reduced < least:
                next_least, second = least, best
                least, best = reduced, j
            elif reduced < next_least:
                next_least, second = reduced, j
        loser = row_of[best]
        lower = price[best] - (next_least - least)
        # Rounding can make two rows outbid each other for ever; past this many turns nobody is put first again.
        again = False
        if n_done < current * n:
            if lower < price[best]:
                price[best] = lower
                again = True
            elif loser >= 0 and second >= 0:
                best = second
                loser = row_of[best]
        if loser >= 0:
            if again:
                current -= 1
                free_rows[current] = loser
            else:
                free_rows[n_left] = loser
                n_left += 1
        column_of[row] = best
        row_of[best] = row
    return n_left


cdef void augment(
    Py_ssize_t n,
    const double* cost,
    double* price,
    Py_ssize_t* column_of,
    Py_ssize_t* row_of,
    Py_ssize_t start,
    double* distance,
    Py_ssize_t* columns,
    Py_ssize_t* reached_from,
) noexcept nogil:
    """Match the free row `start`: along the shortest path to a free column, every row on it moves on by one column.

    `columns` is kept in four parts: [0, n_ready) settled before the last distance, [n_ready, low) settled at it,
    [low, high) as near as those but not yet looked from, [high, n) further away.
    """
    cdef Py_ssize_t low = 0, high = 0, n_ready = 0, end = -1, j, k, row, other
    cdef double least = 0, slack, reduced
    for j in range(n):
        columns[j] = j
        reached_from[j] = start
        distance[j] = cost[start * n + j] - price[j]
    while end < 0:
        if low == high:
            # Bring the nearest of the remaining columns to the front.
            n_ready = low
            high = low + 1
            least = distance[columns[low]]
            for k in range(high, n):
                j = columns[k]
                if distance[j] > least:
                    continue
                if distance[j] < least:
                    high = low
                    least = distance[j]
                columns[k] = columns[high]
                columns[high] = j
                high += 1
            for k in range(low, high):
                if row_of[columns[k]] < 0:
                    end = columns[k]
        while end < 0 and low < high:
            j = columns[low]
            low += 1
            row = row_of[j]
            least = distance[j]
            slack = cost[row * n + j] - price[j] - least
            for k in range(high, n):
                other = columns[k]
                reduced = cost[row * n + other] - price[other] - slack
                if reduced < distance[other]:
                    distance[other] = reduced
                    reached_from[other] = row
                    if reduced == least:
                        if row_of[other] < 0:
                            end = other
                            break
                        columns[k] = columns[high]
                        columns[high] = other
                        high += 1
    for k in range(n_ready):
        price[columns[k]] += distance[columns[k]] - least
    row = -1
    while row != start:
        row = reached_from[end]
        row_of[end] = row
        other = column_of[row]
        column_of[row] = end
        end = other


def solve(const double[:, :] cost, double max_cost):
    """The column of each row of `cost` (n, m), or -1, like tracker.association.associate; for tests."""
    cdef Matcher matcher = Matcher()
    cdef Py_ssize_t i, j
    matcher.begin(cost.shape[0], cost.shape[1])
    for i in range(cost.shape[0]):
        for j in range(cost.shape[1]):
            if cost[i, j] <= max_cost:
                matcher.add(i, j, cost[i, j])
    matcher.solve(max_cost)
    return [matcher.row_partner[i] for i in range(cost.shape[0])]
