# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The tracks of one source and what a frame does to them, compiled.

Gives, bit for bit, what tracker/numpy_tracks.py gives and follows it method by method; the documentation is there.
Every field of the tracks lies in one piece of memory of its own, so that the filter's loops run over all tracks at once.
Arrays come and go through typed memoryviews, so that no NumPy header is needed to build this file.
"""

from libc.math cimport isfinite
from libc.stdlib cimport free
from libc.string cimport memcpy

import numpy as np

from tracker import kalman, rules
from tracker._assignment cimport Matcher, resized

NAME = "cython"

cdef double POSITION_STD = kalman.POSITION_STD
cdef double ASPECT_MEASUREMENT_STD = kalman.ASPECT_MEASUREMENT_STD
cdef double DUPLICATE_COST = rules.DUPLICATE_COST
cdef double CLOCK_TOLERANCE_S = rules.CLOCK_TOLERANCE_S

cdef object empty = np.empty
cdef object FLOAT32 = np.dtype(np.float32)
cdef object INT64 = np.dtype(np.int64)

cdef enum:  # tracker.track_table.TrackState
    NEW = 0
    TRACKED = 1
    LOST = 2
    REMOVED = 3


cdef enum:  # what the filter measures
    CX = 0
    CY = 1
    ASPECT = 2
    HEIGHT = 3


cdef enum:
    FIELDS = 24
    FIELD_BYTES = 8


cdef struct Rule:
    double max_cost
    bint fuse_score


cdef struct Noise:
    double pp
    double pv
    double vv


cdef struct Covariance:
    double* pp
    double* pv
    double* vv


cdef struct Table:
    # What a tracker.track_table.TrackTable holds. `memory` is for `room` tracks, field by field.
    Py_ssize_t n
    Py_ssize_t n_seen
    Py_ssize_t room
    char* memory
    double* position[4]
    double* velocity[4]
    Covariance shared
    Covariance aspect
    double* score
    double* vote
    double* last_seen_s
    long long* track_id
    long long* class_id
    long long* state
    long long* start_frame
    long long* last_frame
    long long* detection_row
    long long* was_removed


cdef struct Rows:
    # Rows of the table or of the detections.
    Py_ssize_t n
    Py_ssize_t* at


cdef struct Detected:
    double box[4]
    double area
    double score
    long long class_id


cdef inline void put(Rows* rows, Py_ssize_t row) noexcept nogil:
    rows.at[rows.n] = row
    rows.n += 1


cdef inline double area_of(const double* box, double extent) noexcept nogil:
    return (box[2] - box[0] + extent) * (box[3] - box[1] + extent)


cdef inline double overlap(const double* a, const double* b, double both, double extent) noexcept nogil:
    """IoU of two boxes whose areas add up to `both`."""
    cdef double width = min(a[2], b[2]) - max(a[0], b[0]) + extent
    if width <= 0:
        return 0
    cdef double height = min(a[3], b[3]) - max(a[1], b[1]) + extent
    if height <= 0:
        return 0
    return width * height / (both - width * height)


cdef inline void to_corners(const Table* t, Py_ssize_t i, double* box) noexcept nogil:
    cdef double half_height = t.position[HEIGHT][i] / 2
    cdef double half_width = t.position[ASPECT][i] * half_height
    box[0] = t.position[CX][i] - half_width
    box[1] = t.position[CY][i] - half_height
    box[2] = t.position[CX][i] + half_width
    box[3] = t.position[CY][i] + half_height


cdef inline void to_measurement(const double* box, double* measured) noexcept nogil:
    cdef double width = box[2] - box[0], height = box[3] - box[1]
    measured[CX] = box[0] + width / 2
    measured[CY] = box[1] + height / 2
    measured[ASPECT] = width / height
    measured[HEIGHT] = height


cdef int allocate(Table* t, Py_ssize_t room) except -1:
    """An empty table for `room` tracks."""
    cdef double* real
    cdef long long* whole
    cdef int c
    t.n = t.n_seen = 0
    t.memory = <char*>resized(t.memory, FIELDS * room * FIELD_BYTES)
    t.room = room
    real = <double*>t.memory
    for c in range(4):
        t.position[c], t.velocity[c] = real + c * room, real + (4 + c) * room
    t.shared = Covariance(real + 8 * room, real + 9 * room, real + 10 * room)
    t.aspect = Covariance(real + 11 * room, real + 12 * room, real + 13 * room)
    t.score, t.vote, t.last_seen_s = real + 14 * room, real + 15 * room, real + 16 * room
    whole = <long long*>(real + 17 * room)
    t.track_id, t.class_id, t.state = whole, whole + room, whole + 2 * room
    t.start_frame, t.last_frame = whole + 3 * room, whole + 4 * room
    t.detection_row, t.was_removed = whole + 5 * room, whole + 6 * room
    return 0


cdef void move(Py_ssize_t n, const double* step_s, double* position, const double* velocity) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        position[i] += step_s[i] * velocity[i]


cdef void spread(Py_ssize_t n, const double* step_s, const double* scale, Covariance cov, Noise noise) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        cov.pp[i] += step_s[i] * (2 * cov.pv[i] + step_s[i] * cov.vv[i]) + noise.pp * scale[i]
        cov.pv[i] += step_s[i] * cov.vv[i] + noise.pv * scale[i]
        cov.vv[i] += noise.vv * scale[i]


cdef inline void shift(Table* t, int c, Py_ssize_t i, double measured, Covariance cov, double total) noexcept nogil:
    cdef double error = measured - t.position[c][i]
    t.position[c][i] += cov.pp[i] / total * error
    t.velocity[c][i] += cov.pv[i] / total * error


cdef inline void shrink(Covariance cov, Py_ssize_t i, double noise, double total) noexcept nogil:
    cov.vv[i] -= cov.pv[i] * cov.pv[i] / total
    cov.pv[i] *= noise / total
    cov.pp[i] *= noise / total


cdef class HeldTracks:
    """The tracks of one source. Implements tracker.kernels.HeldTracks."""

    cdef Rule first, second, confirming
    cdef float low_score, high_score, new_track_score
    cdef bint per_class, output_predicted
    cdef bint thresholds_excluded, new_tracks_stand_still, revives_removed, equal_age_drops_tracked
    cdef double buffer_s, extent_px
    cdef long long buffer_frames
    cdef double interval_s
    cdef double step_variance[4]
    cdef double start_variance[4]

    cdef long long next_id, frame
    cdef double now_s
    # The tracks, and a second table that `arrange` sorts them into.
    cdef Table table, spare
    cdef Py_ssize_t room
    cdef Rows pool, fresh, order
    # Scratch of the filter.
    cdef double* step_s
    cdef double* scale

    # The detections, those that a stage is about, and the rows of the two sets.
    cdef Detected* seen
    cdef Detected* asked
    cdef Py_ssize_t n_detections, detection_room
    cdef Rows high, low
    cdef Matcher matcher

    def __cinit__(self, rules):
        first, second, confirming, motion, quirks = (
            rules.first, rules.second, rules.confirming, rules.motion, rules.quirks
        )
        self.first = Rule(first.max_cost, first.fuse_score)
        self.second = Rule(second.max_cost, second.fuse_score)
        self.confirming = Rule(confirming.max_cost, confirming.fuse_score)
        self.low_score, self.high_score = rules.low_score, rules.high_score
        self.new_track_score = rules.new_track_score
        self.per_class, self.output_predicted = rules.per_class, rules.output_predicted
        self.buffer_s, self.buffer_frames = rules.buffer_s, rules.buffer_frames
        self.thresholds_excluded = quirks.thresholds_excluded
        self.new_tracks_stand_still = quirks.new_tracks_stand_still
        self.revives_removed = quirks.revives_removed
        self.equal_age_drops_tracked = quirks.equal_age_drops_tracked
        self.extent_px = quirks.extent_px
        self.interval_s = motion.interval_s
        self.step_variance = motion.step_variance()
        self.start_variance = motion.start_variance()
        self.matcher = Matcher()
        self.next_id = 1
        self.reserve(16)

    def __dealloc__(self):
        free(self.table.memory)
        free(self.spare.memory)
        free(self.pool.at)
        free(self.step_s)
        free(self.seen)
        free(self.high.at)

    cdef int reserve(self, Py_ssize_t n) except -1:
        """Have memory for n tracks."""
        cdef Py_ssize_t room = 2 * n, n_seen = self.table.n_seen, i
        if n <= self.room:
            return 0
        self.room = 0  # until all of it is there
        self.pool.at = <Py_ssize_t*>resized(self.pool.at, 3 * room * sizeof(Py_ssize_t))
        self.fresh.at, self.order.at = self.pool.at + room, self.pool.at + 2 * room
        self.step_s = <double*>resized(self.step_s, 2 * room * sizeof(double))
        self.scale = self.step_s + room
        allocate(&self.spare, room)
        self.order.n = 0
        for i in range(self.table.n):
            put(&self.order, i)
        self.arrange(n_seen)
        allocate(&self.spare, room)
        self.room = room
        return 0

    cdef void arrange(self, Py_ssize_t n_seen) noexcept:
        """Keep the rows `order`, in that order, of which the first `n_seen` are not lost, and forget the others."""
        cdef Py_ssize_t f, i
        cdef const char* before
        cdef char* after
        for f in range(FIELDS):
            before = self.table.memory + f * self.table.room * FIELD_BYTES
            after = self.spare.memory + f * self.spare.room * FIELD_BYTES
            for i in range(self.order.n):
                memcpy(after + i * FIELD_BYTES, before + self.order.at[i] * FIELD_BYTES, FIELD_BYTES)
        self.spare.n, self.spare.n_seen = self.order.n, n_seen
        self.table, self.spare = self.spare, self.table

    def clear(self):
        self.table.n = self.table.n_seen = 0
        self.frame = 0
        self.now_s = 0

    def __len__(self):
        return self.table.n

    def count(self, long long state):
        cdef Py_ssize_t i, n = 0
        for i in range(self.table.n):
            n += self.table.state[i] == state
        return n

    def read(self, detections):
        cdef const float[:, :] xyxy = detections.xyxy
        cdef const float[:] score = detections.confidence
        cdef const long long[:] class_id = detections.class_id
        cdef Py_ssize_t n = score.shape[0], j
        cdef int c
        cdef Detected* d
        self.high.n = self.low.n = 0
        if n > self.detection_room:
            self.detection_room = 0  # until all of it is there
            self.seen = <Detected*>resized(self.seen, 4 * n * sizeof(Detected))
            self.high.at = <Py_ssize_t*>resized(self.high.at, 4 * n * sizeof(Py_ssize_t))
            self.detection_room = 2 * n
        self.asked, self.low.at = self.seen + self.detection_room, self.high.at + self.detection_room
        self.n_detections = n
        for j in range(n):
            d = &self.seen[j]
            for c in range(4):
                d.box[c] = xyxy[j, c]
            d.score, d.class_id = score[j], class_id[j]
            if not isfinite(d.box[0] + d.box[1] + d.box[2] + d.box[3] + d.score):
                return j
            if not (d.box[2] > d.box[0] and d.box[3] > d.box[1]):
                continue
            d.area = area_of(d.box, self.extent_px)
            if self.reaches(d.score, self.high_score):
                put(&self.high, j)
            elif d.score < self.high_score and self.reaches(d.score, self.low_score):
                put(&self.low, j)
        return -1

    cdef inline bint reaches(self, double score, float least) noexcept:
        return score > least or (score == least and not self.thresholds_excluded)

    def step(self, double dt_s, bint is_cut):
        cdef Table* t
        cdef Py_ssize_t i, k, n_before
        self.reserve(self.table.n + self.n_detections)
        self.pass_time(dt_s, is_cut)
        t = &self.table
        self.pool.n = self.fresh.n = 0
        for i in range(t.n):
            put(&self.fresh if t.state[i] == NEW else &self.pool, i)

        self.match(&self.pool, &self.high, self.first)
        # The low boxes are for tracks that were seen a moment ago: a lost one is found by a good box only.
        k, self.pool.n = self.pool.n, 0
        for i in range(k):
            if t.state[self.pool.at[i]] == TRACKED:
                put(&self.pool, self.pool.at[i])
        self.match(&self.pool, &self.low, self.second)
        self.match(&self.fresh, &self.high, self.confirming)

        n_before = t.n
        for k in range(self.high.n):
            if self.seen[self.high.at[k]].score >= self.new_track_score:
                self.start(self.high.at[k])
        self.retire(n_before)
        return self.shown()

    cdef void pass_time(self, double dt_s, bint is_cut) noexcept:
        """Predict every track over the time since the frame before, and forget those that were lost too long."""
        cdef Table* t = &self.table
        cdef Py_ssize_t i
        self.frame += 1
        self.now_s += dt_s
        if is_cut:
            t.n = t.n_seen = 0
        elif t.n_seen < t.n and not self.revives_removed:
            self.order.n = 0
            for i in range(t.n):
                if t.state[i] != LOST or self.now_s - t.last_seen_s[i] <= self.buffer_s + CLOCK_TOLERANCE_S:
                    put(&self.order, i)
            if self.order.n < t.n:
                self.arrange(t.n_seen)
        self.predict(dt_s)

    cdef void predict(self, double dt_s) noexcept:
        """Move the tracks on by `dt_s`, all at once, and mark all of them as not matched."""
        cdef Table* t = &self.table
        cdef Py_ssize_t i
        cdef int c
        cdef double moves
        for i in range(t.n):
            t.detection_row[i] = -1
            # A lost track keeps its height: an old trend in size soon makes the box absurd.
            if t.state[i] >= LOST:
                t.velocity[HEIGHT][i] = 0
            moves = 0 if t.state[i] == NEW and self.new_tracks_stand_still else 1
            self.step_s[i] = dt_s * moves
            self.scale[i] = t.position[HEIGHT][i] * t.position[HEIGHT][i] * moves
        spread(t.n, self.step_s, self.scale, t.shared, self.noise(dt_s, self.step_variance))
        for i in range(t.n):
            self.scale[i] = t.state[i] != NEW or not self.new_tracks_stand_still
        spread(t.n, self.step_s, self.scale, t.aspect, self.noise(dt_s, self.step_variance + 2))
        for c in range(4):
            move(t.n, self.step_s, t.position[c], t.velocity[c])

    cdef Noise noise(self, double dt_s, const double* variance) noexcept:
        """Noise of a step over `dt_s` seconds: tracker.kalman.Motion.step_noise."""
        cdef double interval = self.interval_s, share = dt_s / interval, position = variance[0], velocity = variance[1]
        return Noise(
            share * (position + velocity * (dt_s - interval) * (2 * dt_s - interval) / 6),
            share * velocity * (dt_s - interval) / 2,
            share * velocity,
        )

    cdef int match(self, Rows* rows, Rows* columns, Rule rule) except -1:
        """Associate tracks with detections and correct the tracks; leave in both lists what is left over."""
        cdef Py_ssize_t n = rows.n, m = columns.n, i, j
        if n == 0 or m == 0:
            return 0
        self.matcher.begin(n, m)
        self.add_pairs(rows, columns, rule)
        self.matcher.solve(rule.max_cost)
        rows.n = columns.n = 0
        for i in range(n):
            j = self.matcher.row_partner[i]
            if j < 0:
                put(rows, rows.at[i])
            else:
                self.correct(rows.at[i], columns.at[j])
        for j in range(m):
            if self.matcher.column_partner[j] < 0:
                put(columns, columns.at[j])
        return 0

    cdef int add_pairs(self, Rows* rows, Rows* columns, Rule rule) except -1:
        """Tell the matcher which tracks and detections may match, and at what cost."""
        cdef Py_ssize_t i, j
        cdef double box[4]
        cdef double area, cost
        cdef Detected* d
        for j in range(columns.n):
            self.asked[j] = self.seen[columns.at[j]]
        for i in range(rows.n):
            to_corners(&self.table, rows.at[i], box)
            area = area_of(box, self.extent_px)
            for j in range(columns.n):
                d = &self.asked[j]
                cost = 1 - overlap(box, d.box, area + d.area, self.extent_px)
                if rule.fuse_score:
                    cost = 1 - (1 - cost) * d.score
                if cost <= rule.max_cost and self.may_be_one(self.table.class_id[rows.at[i]], d.class_id):
                    self.matcher.add(i, j, cost)
        return 0

    cdef inline bint may_be_one(self, long long a, long long b) noexcept:
        return a == b or not self.per_class

    cdef void correct(self, Py_ssize_t i, Py_ssize_t j) noexcept:
        """Correct the track i by the detection j, and note score, row and time of the match: the track is TRACKED."""
        cdef Table* t = &self.table
        cdef Detected* d = &self.seen[j]
        cdef double measured[4]
        cdef double noise, total
        cdef int c
        to_measurement(d.box, measured)
        noise = POSITION_STD * t.position[HEIGHT][i]
        noise = noise * noise
        total = t.shared.pp[i] + noise
        shift(t, CX, i, measured[CX], t.shared, total)
        shift(t, CY, i, measured[CY], t.shared, total)
        shift(t, HEIGHT, i, measured[HEIGHT], t.shared, total)
        shrink(t.shared, i, noise, total)
        noise = ASPECT_MEASUREMENT_STD * ASPECT_MEASUREMENT_STD
        total = t.aspect.pp[i] + noise
        shift(t, ASPECT, i, measured[ASPECT], t.aspect, total)
        shrink(t.aspect, i, noise, total)
        t.score[i], t.last_seen_s[i] = d.score, self.now_s
        t.state[i], t.last_frame[i], t.detection_row[i] = TRACKED, self.frame, j
        if not self.per_class:
            self.vote(i, d)

    cdef void vote(self, Py_ssize_t i, const Detected* d) noexcept:
        """Weighted majority vote: a track's class changes once another one has gathered more confidence."""
        cdef Table* t = &self.table
        cdef double vote = t.vote[i] + (d.score if t.class_id[i] == d.class_id else -d.score)
        if vote < 0:
            t.class_id[i] = d.class_id
        t.vote[i] = abs(vote)

    cdef void start(self, Py_ssize_t j) noexcept:
        """Start a track, at the end of the table, for the detection j."""
        cdef Table* t = &self.table
        cdef Detected* d = &self.seen[j]
        cdef Py_ssize_t i = t.n
        cdef double measured[4]
        cdef double height2
        cdef int c
        to_measurement(d.box, measured)
        height2 = measured[HEIGHT] * measured[HEIGHT]
        for c in range(4):
            t.position[c][i], t.velocity[c][i] = measured[c], 0
        t.shared.pp[i], t.shared.pv[i] = self.start_variance[0] * height2, 0
        t.shared.vv[i] = self.start_variance[1] * height2
        t.aspect.pp[i], t.aspect.pv[i], t.aspect.vv[i] = self.start_variance[2], 0, self.start_variance[3]
        t.score[i] = t.vote[i] = d.score
        t.last_seen_s[i] = self.now_s
        t.track_id[i], t.class_id[i] = self.next_id, d.class_id
        # What is there when the tracker is switched on needs no second sighting.
        t.state[i] = TRACKED if self.frame == 1 else NEW
        t.start_frame[i] = t.last_frame[i] = self.frame
        t.detection_row[i], t.was_removed[i] = j, 0
        self.next_id += 1
        t.n += 1

    cdef void retire(self, Py_ssize_t n_before) noexcept:
        """Sort the table into the tracks seen in this frame and the lost ones; forget new tracks without a match.

        Rows from `n_before` on began in this frame.
        """
        cdef Table* t = &self.table
        cdef Py_ssize_t i, k, n_seen
        self.order.n = 0
        for i in range(t.n_seen):
            if t.detection_row[i] >= 0:
                put(&self.order, i)
        for i in range(n_before, t.n):
            put(&self.order, i)
        for i in range(t.n_seen, n_before):
            if t.detection_row[i] >= 0:
                put(&self.order, i)
        n_seen = self.order.n
        for i in range(t.n_seen, n_before):
            if t.detection_row[i] < 0 and not t.was_removed[i]:
                put(&self.order, i)
        for i in range(t.n_seen):
            if t.detection_row[i] < 0 and not t.was_removed[i] and t.state[i] == TRACKED:
                t.state[i] = LOST
                put(&self.order, i)
        if self.revives_removed:
            # The published code looks at its lost tracks after matching, and at those lost just now a frame later.
            for k in range(n_seen, self.order.n):
                i = self.order.at[k]
                if self.frame - t.last_frame[i] > max(self.buffer_frames, 1):
                    t.state[i] = REMOVED
                    t.was_removed[i] = 1
        self.arrange(self.without_duplicates(n_seen))

    cdef Py_ssize_t without_duplicates(self, Py_ssize_t n_seen) noexcept:
        """Where a seen and a lost track of `order` overlap nearly fully, keep in it the one followed longer.

        Of `order`, the first `n_seen` are not lost; returns how many of them are left.
        """
        cdef Table* t = &self.table
        cdef Py_ssize_t n = self.order.n, a, b, i, j
        cdef long long lead
        cdef double box[4]
        cdef double area
        cdef Py_ssize_t* goes = self.fresh.at
        if n_seen == 0 or n_seen == n:
            return n_seen
        # A seen track has a detection, so there is memory for as many boxes.
        for a in range(n_seen):
            to_corners(t, self.order.at[a], self.asked[a].box)
            self.asked[a].area = area_of(self.asked[a].box, self.extent_px)
        for a in range(n):
            goes[a] = False
        for b in range(n_seen, n):
            j = self.order.at[b]
            to_corners(t, j, box)
            area = area_of(box, self.extent_px)
            for a in range(n_seen):
                i = self.order.at[a]
                if 1 - overlap(self.asked[a].box, box, self.asked[a].area + area, self.extent_px) >= DUPLICATE_COST:
                    continue
                if not self.may_be_one(t.class_id[i], t.class_id[j]):
                    continue
                lead = (t.last_frame[i] - t.start_frame[i]) - (t.last_frame[j] - t.start_frame[j])
                if lead > 0 or (lead == 0 and not self.equal_age_drops_tracked):
                    goes[b] = True
                else:
                    goes[a] = True
        self.order.n = 0
        for a in range(n):
            if a == n_seen:
                b = self.order.n
            if not goes[a]:
                put(&self.order, self.order.at[a])
        return b

    cdef bint is_shown(self, Py_ssize_t i) noexcept:
        return self.table.state[i] == TRACKED or (self.output_predicted and self.table.state[i] == LOST)

    cdef shown(self):
        """Corners in px, score, class, id and detection row of the tracks to show; read-only."""
        cdef Table* t = &self.table
        cdef Py_ssize_t i, n = 0, k = 0
        cdef int c
        cdef double box[4]
        for i in range(t.n):
            n += self.is_shown(i)
        xyxy_array, score_array, fields_array = empty((n, 4), FLOAT32), empty(n, FLOAT32), empty((3, n), INT64)
        cdef float[:, ::1] xyxy = xyxy_array
        cdef float[::1] score = score_array
        cdef long long[:, ::1] fields = fields_array
        for i in range(t.n):
            if not self.is_shown(i):
                continue
            to_corners(t, i, box)
            for c in range(4):
                xyxy[k, c] = <float>box[c]
            score[k] = <float>t.score[i]
            fields[0, k], fields[1, k], fields[2, k] = t.class_id[i], t.track_id[i], t.detection_row[i]
            k += 1
        for array in (xyxy_array, score_array, fields_array):
            array.setflags(False)
        return xyxy_array, score_array, fields_array[0], fields_array[1], fields_array[2]
