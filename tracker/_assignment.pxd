cdef struct Pair:
    Py_ssize_t row
    Py_ssize_t column
    double cost


cdef void* resized(void* memory, size_t n_bytes) except NULL


cdef class Matcher:
    cdef Py_ssize_t n_rows, n_columns
    cdef Py_ssize_t* row_partner
    cdef Py_ssize_t* column_partner
    cdef Pair* pairs
    cdef Py_ssize_t n_pairs, pair_room
    cdef Py_ssize_t* nodes
    cdef Py_ssize_t node_room
    cdef double* block
    cdef Py_ssize_t block_room

    cdef int begin(self, Py_ssize_t n_rows, Py_ssize_t n_columns) except -1
    cdef int add(self, Py_ssize_t row, Py_ssize_t column, double cost) except -1
    cdef int solve(self, double max_cost) except -1
    cdef int solve_block(
        self, Py_ssize_t first, Py_ssize_t* following, Py_ssize_t* number, Py_ssize_t* row_start, double max_cost
    ) except -1
