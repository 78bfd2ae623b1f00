# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The tracker's inner loops, compiled. tracker/numpy_kernels.py documents them and gives the same results.

Arrays come and go through typed memoryviews, so that no NumPy header is needed to build this file.
"""

from libc.math cimport isfinite
from libc.stdlib cimport free, malloc, realloc

import numpy as np

from tracker.association import NEVER, solve

NAME = "cython"

# The columns of tracker/track_table.py.
cdef enum:
    ASPECT = 2
    HEIGHT = 3
    VELOCITY = 4
    COV = 8
    SCORE = 14
    LAST_SEEN_S = 16
    TRACK_ID = 0
    CLASS_ID = 1
    STATE = 2
    LAST_FRAME = 4
    DETECTION_ROW = 5
    WAS_REMOVED = 6
    NEW = 0
    TRACKED = 1
    LOST = 2

cdef double POSITION_STD = 1.0 / 20
cdef double ASPECT_MEASUREMENT_STD = 1e-1

cdef struct Pair:
    Py_ssize_t row
    Py_ssize_t column
    double cost


cdef inline void to_corners(const double* mean, double* box) noexcept nogil:
    cdef double half_height = mean[HEIGHT] / 2
    cdef double half_width = mean[ASPECT] * half_height
    box[0] = mean[0] - half_width
    box[1] = mean[1] - half_height
    box[2] = mean[0] + half_width
    box[3] = mean[1] + half_height


cdef inline double iou(const double* a, const double* b, double extent) noexcept nogil:
    cdef double width = min(a[2], b[2]) - max(a[0], b[0]) + extent
    if width <= 0:
        return 0
    cdef double height = min(a[3], b[3]) - max(a[1], b[1]) + extent
    if height <= 0:
        return 0
    cdef double intersection = width * height
    cdef double area_a = (a[2] - a[0] + extent) * (a[3] - a[1] + extent)
    cdef double area_b = (b[2] - b[0] + extent) * (b[3] - b[1] + extent)
    return intersection / (area_a + area_b - intersection)


def predict(double[:, ::1] real, long long[:, ::1] whole, bint moves_new, double dt_s, noise):
    cdef Py_ssize_t i, c
    cdef double height2, q0, q1, q2, q3, q4, q5
    cdef double* r
    q0, q1, q2, q3, q4, q5 = noise
    for i in range(real.shape[0]):
        whole[i, DETECTION_ROW] = -1
        r = &real[i, 0]
        if whole[i, STATE] >= LOST:
            r[VELOCITY + HEIGHT] = 0
        elif whole[i, STATE] == NEW and not moves_new:
            continue
        height2 = r[HEIGHT] * r[HEIGHT]
        for c in range(4):
            r[c] += dt_s * r[VELOCITY + c]
        r[COV] += dt_s * (2 * r[COV + 1] + dt_s * r[COV + 2]) + q0 * height2
        r[COV + 1] += dt_s * r[COV + 2] + q1 * height2
        r[COV + 2] += q2 * height2
        r[COV + 3] += dt_s * (2 * r[COV + 4] + dt_s * r[COV + 5]) + q3
        r[COV + 4] += dt_s * r[COV + 5] + q4
        r[COV + 5] += q5


def split(const float[:, :] xyxy, const float[:] score, float low_score, float high_score, bint exclusive):
    cdef Py_ssize_t i, n = score.shape[0], n_high = 0, n_low = 0, broken = -1
    cdef float s
    high_array, low_array = np.empty(n, np.int64), np.empty(n, np.int64)
    cdef long long[::1] high = high_array
    cdef long long[::1] low = low_array
    for i in range(n):
        s = score[i]
        if broken < 0 and not isfinite(<double>xyxy[i, 0] + xyxy[i, 1] + xyxy[i, 2] + xyxy[i, 3] + s):
            broken = i
        if not (xyxy[i, 2] > xyxy[i, 0] and xyxy[i, 3] > xyxy[i, 1]):
            continue
        if s > high_score or (s == high_score and not exclusive):
            high[n_high] = i
            n_high += 1
        elif s < high_score and (s > low_score or (s == low_score and not exclusive)):
            low[n_low] = i
            n_low += 1
    return high_array[:n_high], low_array[:n_low], broken


def match(
    double[:, ::1] real,
    long long[:, ::1] whole,
    rows_array,
    const float[:, :] xyxy,
    const float[:] score,
    const long long[:] class_id,
    columns_array,
    rule,
):
    cdef const long long[::1] rows = rows_array
    cdef const long long[::1] columns = columns_array
    cdef Py_ssize_t n = rows.shape[0], m = columns.shape[0]
    cdef double max_cost, extent
    cdef bint fuse, per_class
    max_cost, fuse, per_class, extent = rule
    cdef Pair* pairs = NULL
    cdef Py_ssize_t n_pairs = 0
    cdef Py_ssize_t* scratch = <Py_ssize_t*>malloc((2 * n + m + 1) * sizeof(Py_ssize_t))
    if scratch == NULL:
        raise MemoryError
    cdef Py_ssize_t* partner = scratch
    cdef Py_ssize_t* per_row = scratch + n
    cdef Py_ssize_t* per_column = scratch + 2 * n
    try:
        n_pairs = candidates(
            real, whole, rows, xyxy, score, class_id, columns, max_cost, fuse, per_class, extent,
            &pairs, per_row, per_column,
        )
        if n_pairs < 0:
            raise MemoryError
        assign(pairs, n_pairs, per_row, per_column, partner, n, m, max_cost)
        return gather(rows, columns, partner, per_column)
    finally:
        free(pairs)
        free(scratch)


cdef Py_ssize_t candidates(
    double[:, ::1] real,
    long long[:, ::1] whole,
    const long long[::1] rows,
    const float[:, :] xyxy,
    const float[:] score,
    const long long[:] class_id,
    const long long[::1] columns,
    double max_cost,
    bint fuse,
    bint per_class,
    double extent,
    Pair** out,
    Py_ssize_t* per_row,
    Py_ssize_t* per_column,
) noexcept:
    """Fill `out` with the pairs whose cost is at most `max_cost`; their number, or -1 without memory."""
    cdef Py_ssize_t i, j, k, n = rows.shape[0], m = columns.shape[0], n_pairs = 0, room = 2 * (n + m) + 8
    cdef double a[4]
    cdef double cost
    cdef double* boxes = <double*>malloc((4 * m + 1) * sizeof(double))
    cdef Pair* pairs = <Pair*>malloc(room * sizeof(Pair))
    cdef Pair* more
    out[0] = pairs
    if boxes == NULL or pairs == NULL:
        free(boxes)
        return -1
    for j in range(m):
        per_column[j] = 0
        for k in range(4):
            boxes[4 * j + k] = xyxy[columns[j], k]
    for i in range(n):
        per_row[i] = 0
        to_corners(&real[rows[i], 0], a)
        for j in range(m):
            cost = 1 - iou(a, boxes + 4 * j, extent)
            if fuse:
                cost = 1 - (1 - cost) * score[columns[j]]
            if cost > max_cost or (per_class and whole[rows[i], CLASS_ID] != class_id[columns[j]]):
                continue
            if n_pairs == room:
                room *= 2
                more = <Pair*>realloc(pairs, room * sizeof(Pair))
                if more == NULL:
                    free(boxes)
                    return -1
                out[0] = pairs = more
            pairs[n_pairs].row = i
            pairs[n_pairs].column = j
            pairs[n_pairs].cost = cost
            n_pairs += 1
            per_row[i] += 1
            per_column[j] += 1
    free(boxes)
    return n_pairs


cdef assign(
    Pair* pairs,
    Py_ssize_t n_pairs,
    Py_ssize_t* per_row,
    Py_ssize_t* per_column,
    Py_ssize_t* partner,
    Py_ssize_t n,
    Py_ssize_t m,
    double max_cost,
):
    """Fill `partner` (n,) with the column of each row or -1, as association.associate does."""
    cdef Py_ssize_t i, k, n_rows = 0, n_columns = 0, n_open = n_pairs
    for i in range(n):
        partner[i] = -1
    for k in range(n_pairs):
        if per_row[pairs[k].row] == 1 and per_column[pairs[k].column] == 1:
            partner[pairs[k].row] = pairs[k].column
            per_row[pairs[k].row] = 0
            n_open -= 1
    if n_open == 0:
        return
    # What is left has rivals: number its rows and columns in order, and search those only.
    part_row_array, part_column_array = np.full(n, -1, np.int64), np.full(m, -1, np.int64)
    cdef long long[::1] part_row = part_row_array
    cdef long long[::1] part_column = part_column_array
    for k in range(n_pairs):
        if per_row[pairs[k].row]:
            if part_row[pairs[k].row] < 0:
                part_row[pairs[k].row] = n_rows
                n_rows += 1
            part_column[pairs[k].column] = 0
    for i in range(m):
        if part_column[i] == 0:
            part_column[i] = n_columns
            n_columns += 1
    part_array = np.full((n_rows, n_columns), NEVER)
    cdef double[:, ::1] part = part_array
    for k in range(n_pairs):
        if per_row[pairs[k].row]:
            part[part_row[pairs[k].row], part_column[pairs[k].column]] = pairs[k].cost
    cdef long long[::1] found = solve(part_array, max_cost)
    cdef long long[::1] columns = np.flatnonzero(part_column_array >= 0)
    for i in range(n):
        if part_row[i] >= 0 and found[part_row[i]] >= 0:
            partner[i] = columns[found[part_row[i]]]


cdef gather(const long long[::1] rows, const long long[::1] columns, const Py_ssize_t* partner, Py_ssize_t* per_column):
    """Matched rows and their columns, then the rows and the columns left over, as table and detection rows."""
    cdef Py_ssize_t i, j, n = rows.shape[0], m = columns.shape[0], k = 0, u, v
    row_array, column_array = np.empty(n, np.int64), np.empty(m, np.int64)
    cdef long long[::1] row = row_array
    cdef long long[::1] column = column_array
    for j in range(m):
        per_column[j] = 0
    for i in range(n):
        if partner[i] >= 0:
            row[k] = rows[i]
            column[k] = columns[partner[i]]
            per_column[partner[i]] = 1
            k += 1
    u = v = k
    for i in range(n):
        if partner[i] < 0:
            row[u] = rows[i]
            u += 1
    for j in range(m):
        if not per_column[j]:
            column[v] = columns[j]
            v += 1
    return row_array[:k], column_array[:k], row_array[k:], column_array[k:]


def correct(
    double[:, ::1] real,
    long long[:, ::1] whole,
    const long long[::1] rows,
    const float[:, :] xyxy,
    const float[:] score,
    const long long[::1] columns,
    long long frame,
    double now_s,
):
    cdef Py_ssize_t i, j
    cdef double width, height, noise, total, error
    cdef double* r
    for i in range(rows.shape[0]):
        r = &real[rows[i], 0]
        j = columns[i]
        width = <double>xyxy[j, 2] - xyxy[j, 0]
        height = <double>xyxy[j, 3] - xyxy[j, 1]
        noise = POSITION_STD * r[HEIGHT]
        noise = noise * noise
        total = r[COV] + noise
        shift(r, 0, xyxy[j, 0] + width / 2, r[COV] / total, r[COV + 1] / total)
        shift(r, 1, xyxy[j, 1] + height / 2, r[COV] / total, r[COV + 1] / total)
        shift(r, HEIGHT, height, r[COV] / total, r[COV + 1] / total)
        shrink(r + COV, noise, total)
        noise = ASPECT_MEASUREMENT_STD * ASPECT_MEASUREMENT_STD
        total = r[COV + 3] + noise
        shift(r, ASPECT, width / height, r[COV + 3] / total, r[COV + 4] / total)
        shrink(r + COV + 3, noise, total)
        r[SCORE] = score[j]
        r[LAST_SEEN_S] = now_s
        whole[rows[i], LAST_FRAME] = frame
        whole[rows[i], DETECTION_ROW] = j


cdef inline void shift(double* r, int c, double measured, double gain, double velocity_gain) noexcept nogil:
    cdef double error = measured - r[c]
    r[c] += gain * error
    r[VELOCITY + c] += velocity_gain * error


cdef inline void shrink(double* cov, double noise, double total) noexcept nogil:
    cov[2] -= cov[1] * cov[1] / total
    cov[1] *= noise / total
    cov[0] *= noise / total


def duplicates(
    double[:, ::1] real, long long[:, ::1] whole, Py_ssize_t n_seen, double max_cost, bint per_class, double extent_px
):
    cdef Py_ssize_t i, j, n = real.shape[0]
    cdef double a[4]
    cdef double b[4]
    cdef list seen = [], lost = []
    for j in range(n_seen, n):
        to_corners(&real[j, 0], b)
        for i in range(n_seen):
            if per_class and whole[i, CLASS_ID] != whole[j, CLASS_ID]:
                continue
            to_corners(&real[i, 0], a)
            if 1 - iou(a, b, extent_px) < max_cost:
                seen.append(i)
                lost.append(j)
    return np.array(seen, np.int64), np.array(lost, np.int64)


def rows_in_order(long long[:, ::1] whole, Py_ssize_t n_seen, Py_ssize_t n_before):
    cdef Py_ssize_t i, n = whole.shape[0], k = 0, n_now
    order_array = np.empty(n, np.int64)
    cdef long long[::1] order = order_array
    for i in range(n_seen):
        if whole[i, DETECTION_ROW] >= 0:
            order[k] = i
            k += 1
    for i in range(n_before, n):
        order[k] = i
        k += 1
    for i in range(n_seen, n_before):
        if whole[i, DETECTION_ROW] >= 0:
            order[k] = i
            k += 1
    n_now = k
    for i in range(n_seen, n_before):
        if whole[i, DETECTION_ROW] < 0 and whole[i, WAS_REMOVED] == 0:
            order[k] = i
            k += 1
    for i in range(n_seen):
        if whole[i, DETECTION_ROW] < 0 and whole[i, WAS_REMOVED] == 0 and whole[i, STATE] == TRACKED:
            whole[i, STATE] = LOST
            order[k] = i
            k += 1
    return order_array[:k], n_now


def select(double[:, ::1] real, long long[:, ::1] whole, long long last_state):
    cdef Py_ssize_t i, c, n = real.shape[0], k = 0
    cdef double box[4]
    xyxy_array, score_array = np.empty((n, 4), np.float32), np.empty(n, np.float32)
    fields_array = np.empty((3, n), np.int64)
    cdef float[:, ::1] xyxy = xyxy_array
    cdef float[::1] score = score_array
    cdef long long[:, ::1] fields = fields_array
    for i in range(n):
        if whole[i, STATE] < TRACKED or whole[i, STATE] > last_state:
            continue
        to_corners(&real[i, 0], box)
        for c in range(4):
            xyxy[k, c] = <float>box[c]
        score[k] = <float>real[i, SCORE]
        fields[0, k] = whole[i, CLASS_ID]
        fields[1, k] = whole[i, TRACK_ID]
        fields[2, k] = whole[i, DETECTION_ROW]
        k += 1
    return xyxy_array[:k], score_array[:k], fields_array[0, :k], fields_array[1, :k], fields_array[2, :k]
