# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""From what a network gives to boxes, compiled. detector/torch_boxes.py documents it and gives the same results.

Arrays come and go through typed memoryviews, so that no NumPy header is needed to build this file. Everything between
taking an array in and handing one out runs without Python's lock, and nothing is shared between calls.
"""

from libc.math cimport exp, fabsf, log
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

import numpy as np

NAME = "cython"

cdef extern from "_lanes.h":
    ctypedef struct Candidate:
        float cx, cy, w, h, confidence
        int class_id
    ctypedef struct Block:
        pass
    Py_ssize_t find_above(const float*, Py_ssize_t, Py_ssize_t, float, uint32_t*) noexcept nogil
    int find_best(const float*, int, float*) noexcept nogil
    Py_ssize_t keep_best(
        const Candidate*, const uint32_t*, Py_ssize_t, float, bint, Py_ssize_t, int*, Block*, uint32_t*, float*
    ) noexcept nogil

cdef enum:
    # Candidates whose class scores are gathered at a time: 80 classes of them fit the first-level cache.
    CHUNK = 64

    # Columns of torch_boxes.places_of_maps.
    OBJECTNESS = 4
    SCORE = 5
    CLASS_ID = 6
    IMAGE = 7
    ANCHOR = 8
    CELL = 9
    PLACE_COLUMNS = 10

cdef float FARTHEST_PX = 1e7

cdef struct Rules:
    float conf_thres
    float iou_thres
    float limit
    bint agnostic
    bint multi_label
    bint objectness_only
    Py_ssize_t max_det
    Py_ssize_t max_candidates
    int num_classes
    unsigned char* wanted

cdef struct Found:
    Candidate* at
    Py_ssize_t n
    Py_ssize_t room

cdef struct Level:
    const float* base
    Py_ssize_t image
    Py_ssize_t channel
    Py_ssize_t cell
    Py_ssize_t ny
    Py_ssize_t nx
    float stride

cdef struct Head:
    Level* levels
    Py_ssize_t n_levels
    Py_ssize_t na
    # Width and height of each level's anchors, px; NULL where the head has none.
    float* anchors


def boxes_of_rows(const float[:, :, ::1] rows, settings):
    cdef Rules rules
    cdef Found found
    cdef Py_ssize_t image
    cdef int failed
    start(&found, &rules)
    kept = []
    try:
        read_rules(settings, rows.shape[2] - 5, &rules)
        for image in range(rows.shape[0]):
            found.n = failed = 0
            if rows.shape[1]:
                with nogil:
                    failed = choose_rows(&found, &rules, &rows[image, 0, 0], rows.shape[1])
            if failed:
                raise MemoryError
            kept.append(finish(&found, &rules))
    finally:
        free(found.at)
        free(rules.wanted)
    return kept


def boxes_of_maps(maps, head, settings):
    cdef Rules rules
    cdef Found found
    cdef Head heads
    cdef Py_ssize_t image, i, n_images = maps[0].shape[0]
    cdef int failed
    start(&found, &rules)
    heads.levels, heads.anchors = NULL, NULL
    kept = []
    try:
        read_rules(settings, head.num_classes, &rules)
        read_head(head, &heads)
        if len(maps) != heads.n_levels:
            raise ValueError(f"maps: wanted {heads.n_levels}, one per level of the head, found {len(maps)}")
        held = [read_level(level, heads.levels + i) for i, level in enumerate(maps)]
        for image in range(n_images):
            found.n = 0
            with nogil:
                failed = choose_cells(&found, &rules, &heads, image)
            if failed:
                raise MemoryError
            kept.append(finish(&found, &rules))
        del held
    finally:
        free(found.at)
        free(rules.wanted)
        free(heads.levels)
        free(heads.anchors)
    return kept


def boxes_of_places(const float[:, ::1] places, grids_hw, Py_ssize_t n_images, head, settings):
    cdef Rules rules
    cdef Found found
    cdef Head heads
    cdef Py_ssize_t image, i, end, begin = 0
    cdef int failed
    start(&found, &rules)
    heads.levels, heads.anchors = NULL, NULL
    kept = []
    try:
        read_rules(settings, head.num_classes, &rules)
        read_head(head, &heads)
        if len(grids_hw) != heads.n_levels:
            raise ValueError(f"grids_hw: wanted {heads.n_levels}, one per level of the head, found {len(grids_hw)}")
        for i, grid_hw in enumerate(grids_hw):
            heads.levels[i].ny, heads.levels[i].nx = grid_hw
            heads.levels[i].channel = 1
        for image in range(n_images):
            end = begin
            while end < places.shape[0] and places[end, IMAGE] == image:
                end += 1
            found.n = failed = 0
            if end > begin:
                with nogil:
                    failed = choose_places(&found, &rules, &heads, &places[begin, 0], end - begin)
            if failed:
                raise MemoryError
            kept.append(finish(&found, &rules))
            begin = end
    finally:
        free(found.at)
        free(rules.wanted)
        free(heads.levels)
        free(heads.anchors)
    return kept


def suppress(const float[:, ::1] cxcywh, const float[::1] confidence, const long long[::1] class_id, settings):
    cdef Rules rules
    cdef Found found
    cdef Py_ssize_t i, n = confidence.shape[0]
    cdef long long last = 0
    for i in range(n):
        last = max(last, class_id[i])
    start(&found, &rules)
    try:
        read_rules(settings, last + 1, &rules)
        with nogil:
            for i in range(n):
                if add(&found, confidence[i], class_id[i]):
                    break
                place(&found, i, cxcywh[i, 0], cxcywh[i, 1], cxcywh[i, 2], cxcywh[i, 3])
        if found.n < n:
            raise MemoryError
        return finish(&found, &rules)
    finally:
        free(found.at)
        free(rules.wanted)


cdef read_rules(settings, int num_classes, Rules* rules):
    rules.conf_thres = settings.conf_thres
    rules.iou_thres = settings.iou_thres
    rules.agnostic = settings.agnostic
    rules.multi_label = settings.multi_label and num_classes > 1
    rules.objectness_only = settings.objectness_only
    rules.max_det = settings.max_det
    rules.max_candidates = settings.max_candidates
    rules.num_classes = num_classes
    rules.limit = lowest_logit(settings.conf_thres)
    if settings.class_ids is not None:
        rules.wanted = <unsigned char*>calloc(num_classes, 1)
        if rules.wanted == NULL:
            raise MemoryError
        for class_id in settings.class_ids:
            if 0 <= class_id < num_classes:
                rules.wanted[<int>class_id] = 1


cdef read_head(head, Head* out):
    """Strides and anchors; whoever calls frees `levels` and `anchors`, NULL before, whatever happens."""
    cdef Py_ssize_t i
    sides = [side for level in head.anchors_px for anchor in level for side in anchor]
    out.n_levels = len(head.strides)
    out.na = head.num_anchors
    out.levels = <Level*>malloc(out.n_levels * sizeof(Level))
    if out.levels == NULL:
        raise MemoryError
    for i in range(out.n_levels):
        out.levels[i].stride = head.strides[i]
    if sides:
        out.anchors = <float*>malloc(len(sides) * sizeof(float))
        if out.anchors == NULL:
            raise MemoryError
        for i in range(len(sides)):
            out.anchors[i] = sides[i]


cdef object read_level(level, Level* out):
    """Where one level's numbers lie; gives back the array that holds them."""
    if level.strides[2] != level.strides[3] * level.shape[3]:
        level = np.ascontiguousarray(level)
    cdef const float[:, :, :, :] view = level
    out.base = <const float*>&view[0, 0, 0, 0] if level.size else NULL
    out.image = view.strides[0] // sizeof(float)
    out.channel = view.strides[1] // sizeof(float)
    out.cell = view.strides[3] // sizeof(float)
    out.ny = view.shape[2]
    out.nx = view.shape[3]
    return level


cdef inline void start(Found* found, Rules* rules) noexcept nogil:
    """Nothing is held yet, so that all can be freed whatever happens."""
    found.at = NULL
    found.n = found.room = 0
    rules.wanted = NULL


cdef inline int add(Found* found, float confidence, int class_id) noexcept nogil:
    """One more candidate, whose box is set by `place`; 1 without memory."""
    cdef Candidate* more
    if found.n == found.room:
        more = <Candidate*>realloc(found.at, (2 * found.room + 256) * sizeof(Candidate))
        if more == NULL:
            return 1
        found.at = more
        found.room = 2 * found.room + 256
    found.at[found.n].confidence = confidence
    found.at[found.n].class_id = class_id
    found.n += 1
    return 0


cdef inline void place(Found* found, Py_ssize_t first, float cx, float cy, float w, float h) noexcept nogil:
    """Give the candidates from `first` on their box; forget them if it lies beyond all numbers (NaN does, too)."""
    cdef Py_ssize_t i
    if not (fabsf(cx) < FARTHEST_PX and fabsf(cy) < FARTHEST_PX and fabsf(w) < FARTHEST_PX and fabsf(h) < FARTHEST_PX):
        found.n = first
    for i in range(first, found.n):
        found.at[i].cx = cx
        found.at[i].cy = cy
        found.at[i].w = w
        found.at[i].h = h


cdef inline float sigmoid(float x) noexcept nogil:
    # In float64, rounded once: the same to the last bit wherever it is computed.
    return <float>(1 / (1 + exp(-<double>x)))


cdef inline float lowest_logit(double probability) noexcept nogil:
    """A logit a hair below that of a probability, so that rounding cannot lose a number that is above it."""
    cdef double low = probability * (1 - 1e-5)
    return <float>log(low / (1 - low))


cdef inline int consider(
    Found* found, const Rules* rules, float objectness, const float* classes, bint logits
) noexcept nogil:
    """Add the classes of one place that are confident and wanted; 1 without memory."""
    cdef int c
    cdef float score, confidence, lowest
    if rules.objectness_only:
        if objectness > rules.conf_thres and (rules.wanted == NULL or rules.wanted[0]):
            return add(found, objectness, 0)
    elif rules.multi_label:
        lowest = rules.conf_thres / objectness
        lowest = lowest_logit(lowest) if logits else lowest * <float>(1 - 1e-5)
        for c in range(rules.num_classes):
            if classes[c] > lowest and (rules.wanted == NULL or rules.wanted[c]):
                confidence = objectness * (sigmoid(classes[c]) if logits else classes[c])
                if confidence > rules.conf_thres and add(found, confidence, c):
                    return 1
    else:
        c = find_best(classes, rules.num_classes, &score)
        confidence = objectness * (sigmoid(score) if logits else score)
        if confidence > rules.conf_thres and (rules.wanted == NULL or rules.wanted[c]):
            return add(found, confidence, c)
    return 0


cdef int choose_rows(Found* found, const Rules* rules, const float* row, Py_ssize_t n_rows) noexcept nogil:
    cdef Py_ssize_t i, first
    for i in range(n_rows):
        if row[4] > rules.conf_thres:
            first = found.n
            if consider(found, rules, row[4], row + 5, False):
                return 1
            place(found, first, row[0], row[1], row[2], row[3])
        row += 5 + rules.num_classes
    return 0


cdef int choose_cells(Found* found, const Rules* rules, const Head* head, Py_ssize_t image) noexcept nogil:
    cdef Py_ssize_t i, cells = 0, na = head.na
    cdef int failed = 0
    cdef const Level* level
    for i in range(head.n_levels):
        cells = max(cells, head.levels[i].ny * head.levels[i].nx)
    cdef uint32_t* above = <uint32_t*>malloc((cells + 1) * sizeof(uint32_t))
    cdef float* classes = <float*>malloc(CHUNK * rules.num_classes * sizeof(float))
    if above == NULL or classes == NULL:
        failed = 1
    for i in range(head.n_levels * na):
        if not failed:
            level = head.levels + i // na
            failed = choose_of_anchor(
                found,
                rules,
                level,
                level.base + image * level.image + (i % na) * (5 + rules.num_classes) * level.channel,
                head.anchors + 2 * i if head.anchors != NULL else NULL,
                above,
                classes,
            )
    free(above)
    free(classes)
    return failed


cdef int choose_of_anchor(
    Found* found,
    const Rules* rules,
    const Level* level,
    const float* base,
    const float* anchor,
    uint32_t* above,
    float* classes,
) noexcept nogil:
    """The candidates of one plane of objectness; 1 without memory."""
    cdef Py_ssize_t i, count, first, begin = 0, nc = rules.num_classes
    cdef Py_ssize_t n = find_above(base + 4 * level.channel, level.ny * level.nx, level.cell, rules.limit, above)
    cdef const float* at
    while begin < n:
        count = min(n - begin, <Py_ssize_t>CHUNK)
        if not rules.objectness_only:
            gather(level, base + 5 * level.channel, above + begin, count, nc, classes)
        for i in range(count):
            at = base + above[begin + i] * level.cell
            first = found.n
            if consider(found, rules, sigmoid(at[4 * level.channel]), classes + i * nc, True):
                return 1
            if found.n > first:
                decode(found, first, level, at, anchor, above[begin + i])
        begin += count
    return 0


cdef int choose_places(
    Found* found, const Rules* rules, const Head* head, const float* places, Py_ssize_t n
) noexcept nogil:
    """The candidates of one image's places, which are sorted by anchor and cell, in the order of its levels."""
    cdef Py_ssize_t i, k, first, cell, begin = 0
    cdef float confidence
    cdef int class_id
    cdef const float* at
    cdef const float* anchor = NULL
    for i in range(head.n_levels):
        for k in range(n):
            at = places + k * PLACE_COLUMNS
            cell = <Py_ssize_t>at[CELL] - begin
            if not 0 <= cell < head.levels[i].ny * head.levels[i].nx:
                continue
            confidence = sigmoid(at[OBJECTNESS]) * sigmoid(at[SCORE])
            class_id = <int>at[CLASS_ID]
            if confidence > rules.conf_thres and (rules.wanted == NULL or rules.wanted[class_id]):
                first = found.n
                if add(found, confidence, class_id):
                    return 1
                if head.anchors != NULL:
                    anchor = head.anchors + 2 * (i * head.na + <Py_ssize_t>at[ANCHOR])
                decode(found, first, head.levels + i, at, anchor, cell)
        begin += head.levels[i].ny * head.levels[i].nx
    return 0


cdef inline void gather(
    const Level* level, const float* plane, const uint32_t* cells, Py_ssize_t count, Py_ssize_t nc, float* classes
) noexcept nogil:
    """Class logits (count, nc) of cells: plane by plane, or in one piece where a cell's channels lie together."""
    cdef Py_ssize_t i, c
    if level.channel == 1:
        for i in range(count):
            memcpy(classes + i * nc, plane + cells[i] * level.cell, nc * sizeof(float))
        return
    for c in range(nc):
        for i in range(count):
            classes[i * nc + c] = plane[cells[i] * level.cell]
        plane += level.channel


cdef inline void decode(
    Found* found, Py_ssize_t first, const Level* level, const float* at, const float* anchor, uint32_t cell
) noexcept nogil:
    """The box of a cell, by the formulas of detector/decode.py."""
    cdef float x = at[0], y = at[level.channel], w = at[2 * level.channel], h = at[3 * level.channel]
    cdef float column = cell % <uint32_t>level.nx, row = cell // <uint32_t>level.nx
    if anchor == NULL:
        place(
            found,
            first,
            (x + column) * level.stride,
            (y + row) * level.stride,
            <float>exp(<double>w) * level.stride,
            <float>exp(<double>h) * level.stride,
        )
        return
    x = sigmoid(x) * 2
    y = sigmoid(y) * 2
    w = sigmoid(w) * 2
    h = sigmoid(h) * 2
    # In float32 at each step, as PyTorch does it.
    x -= 0.5
    y -= 0.5
    place(found, first, (x + column) * level.stride, (y + row) * level.stride, w * w * anchor[0], h * h * anchor[1])


cdef finish(Found* found, const Rules* rules):
    """Sort, cut off and suppress: xyxy, confidence, class_id, n_truncated."""
    cdef Py_ssize_t i, kept, n = min(found.n, rules.max_candidates), most = min(n, rules.max_det)
    xyxy_array, confidence_array = np.empty((most, 4), np.float32), np.empty(most, np.float32)
    class_array = np.empty(most, np.int64)
    if most == 0:
        return xyxy_array, confidence_array, class_array, 0
    cdef float[:, ::1] xyxy = xyxy_array
    cdef float[::1] confidence = confidence_array
    cdef long long[::1] class_id = class_array
    cdef uint32_t* order = <uint32_t*>malloc(4 * found.n * sizeof(uint32_t))
    cdef uint32_t* rows = <uint32_t*>malloc(most * sizeof(uint32_t))
    cdef int* newest = <int*>malloc(rules.num_classes * sizeof(int))
    cdef Block* blocks = <Block*>malloc(most * sizeof(Block))
    try:
        if order == NULL or rows == NULL or newest == NULL or blocks == NULL:
            raise MemoryError
        with nogil:
            sort(found, order)
            memset(newest, 0xFF, rules.num_classes * sizeof(int))
            kept = keep_best(
                found.at, order, n, rules.iou_thres, rules.agnostic, most, newest, blocks, rows, &xyxy[0, 0]
            )
            for i in range(kept):
                confidence[i] = found.at[rows[i]].confidence
                class_id[i] = found.at[rows[i]].class_id
    finally:
        free(order)
        free(rows)
        free(newest)
        free(blocks)
    return xyxy_array[:kept], confidence_array[:kept], class_array[:kept], found.n - n


cdef void sort(const Found* found, uint32_t* work) noexcept nogil:
    """Positions by falling confidence, equal ones in their order, into work[0:n]; work has room for 4 n.

    Radix sort, a byte at a time: the bits of positive floats rise with their value.
    """
    cdef Py_ssize_t i, n = found.n
    cdef uint32_t counts[4][256]
    cdef uint32_t bits, total, count
    cdef int byte, digit
    cdef uint32_t* order = work
    cdef uint32_t* keys = work + n
    cdef uint32_t* next_order = work + 2 * n
    cdef uint32_t* next_keys = work + 3 * n
    memset(counts, 0, sizeof(counts))
    for i in range(n):
        memcpy(&bits, &found.at[i].confidence, sizeof(bits))
        bits = ~bits
        order[i] = i
        keys[i] = bits
        for byte in range(4):
            counts[byte][(bits >> (8 * byte)) & 255] += 1
    # After four passes, an even number, the result lies where it began.
    for byte in range(4):
        total = 0
        for digit in range(256):
            count = counts[byte][digit]
            counts[byte][digit] = total
            total += count
        for i in range(n):
            digit = (keys[i] >> (8 * byte)) & 255
            count = counts[byte][digit]
            counts[byte][digit] += 1
            next_order[count] = order[i]
            next_keys[count] = keys[i]
        order, next_order = next_order, order
        keys, next_keys = next_keys, keys
