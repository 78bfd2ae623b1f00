# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What a frame does to the tracks of one source, compiled.

Gives, bit for bit, what tracker/numpy_tracks.py gives and follows it method by method; the documentation is there.
Arrays come and go through typed memoryviews, so that no NumPy header is needed to build this file.
"""

from libc.math cimport isfinite
from libc.stdlib cimport free

import numpy as np

from tracker import rules as _rules
from tracker._assignment cimport Matcher, resized
from tracker._track_table cimport LOST, NEW, REMOVED, TRACKED, TrackTable

NAME = "cython"

cdef double DUPLICATE_COST = _rules.DUPLICATE_COST
cdef double CLOCK_TOLERANCE_S = _rules.CLOCK_TOLERANCE_S

cdef object empty = np.empty
cdef object FLOAT32 = np.dtype(np.float32)
cdef object INT64 = np.dtype(np.int64)


cdef struct Rule:
    double max_cost
    bint fuse_score


cdef struct Rows:
    # Rows of the table or of the detections.
    Py_ssize_t n
    Py_ssize_t* at


cdef struct Box:
    double xyxy[4]
    double area


cdef struct Detected:
    Box box
    double score
    long long class_id


cdef inline void put(Rows* rows, Py_ssize_t row) noexcept:
    rows.at[rows.n] = row
    rows.n += 1


cdef inline void measure_area(Box* box, double extent) noexcept:
    box.area = (box.xyxy[2] - box.xyxy[0] + extent) * (box.xyxy[3] - box.xyxy[1] + extent)


cdef inline double overlap(const Box* a, const Box* b, double extent) noexcept:
    """IoU of two boxes."""
    cdef double width = min(a.xyxy[2], b.xyxy[2]) - max(a.xyxy[0], b.xyxy[0]) + extent
    if width <= 0:
        return 0
    cdef double height = min(a.xyxy[3], b.xyxy[3]) - max(a.xyxy[1], b.xyxy[1]) + extent
    if height <= 0:
        return 0
    return width * height / (a.area + b.area - width * height)


cdef class HeldTracks:
    """The tracks of one source. Implements tracker.kernels.HeldTracks."""

    cdef Rule first, second, confirming
    cdef float low_score, high_score, new_track_score
    cdef bint per_class, output_predicted
    cdef bint thresholds_excluded, new_tracks_stand_still, revives_removed, equal_age_drops_tracked
    cdef double buffer_s, extent_px
    cdef long long buffer_frames

    cdef TrackTable table
    cdef long long next_id, frame
    cdef double now_s
    # Rows of the table: of confirmed tracks, of new ones, and what `arrange` is to keep. Memory is for `room` of each.
    cdef Rows pool, fresh, order
    cdef Py_ssize_t room

    # The detections, rows of the two sets by score, and those boxes that are under comparison. Memory as above.
    cdef Detected* seen
    cdef Py_ssize_t n_detections, seen_room
    cdef Rows high, low
    cdef Detected* asked
    cdef Matcher matcher

    def __cinit__(self, rules):
        first, second, confirming, quirks = rules.first, rules.second, rules.confirming, rules.quirks
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
        self.table = TrackTable(rules.motion)
        self.matcher = Matcher()
        self.next_id = 1

    def __dealloc__(self):
        free(self.pool.at)
        free(self.seen)
        free(self.high.at)

    cdef int reserve_tracks(self, Py_ssize_t n) except -1:
        """Have memory for n tracks."""
        cdef Py_ssize_t room = 2 * n
        self.table.reserve(n)
        if n > self.room:
            self.pool.at = <Py_ssize_t*>resized(self.pool.at, 3 * room * sizeof(Py_ssize_t))
            self.fresh.at, self.order.at = self.pool.at + room, self.pool.at + 2 * room
            self.room = room
        return 0

    cdef int reserve_detections(self, Py_ssize_t n) except -1:
        """Have memory for n detections."""
        cdef Py_ssize_t room = 2 * n
        if n > self.seen_room:
            self.seen_room = 0  # until all of it is there
            self.seen = <Detected*>resized(self.seen, 2 * room * sizeof(Detected))
            self.asked = self.seen + room
            self.high.at = <Py_ssize_t*>resized(self.high.at, 2 * room * sizeof(Py_ssize_t))
            self.low.at = self.high.at + room
            self.seen_room = room
        return 0

    def clear(self):
        self.table.clear()
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
        cdef Detected* d
        cdef double* box
        cdef int c
        self.reserve_detections(n)
        self.n_detections, self.high.n, self.low.n = n, 0, 0
        for j in range(n):
            d = &self.seen[j]
            box = d.box.xyxy
            for c in range(4):
                box[c] = xyxy[j, c]
            d.score, d.class_id = score[j], class_id[j]
            if not isfinite(box[0] + box[1] + box[2] + box[3] + d.score):
                return j
            if not (box[2] > box[0] and box[3] > box[1]):
                continue
            measure_area(&d.box, self.extent_px)
            if self.reaches(d.score, self.high_score):
                put(&self.high, j)
            elif d.score < self.high_score and self.reaches(d.score, self.low_score):
                put(&self.low, j)
        return -1

    cdef inline bint reaches(self, double score, float least) noexcept:
        return score > least or (score == least and not self.thresholds_excluded)

    def step(self, double dt_s, bint is_cut):
        cdef TrackTable t = self.table
        cdef Py_ssize_t i, k, n_before, n_seen
        self.reserve_tracks(t.n + self.n_detections)
        self.pass_time(dt_s, is_cut)
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
        t.follow(dt_s)

        n_before = t.n
        for k in range(self.high.n):
            if self.seen[self.high.at[k]].score >= self.new_track_score:
                self.start(self.high.at[k])
        n_seen = self.without_duplicates(self.retire(n_before))
        t.arrange(self.order.at, self.order.n, n_seen)
        return self.shown()

    cdef void pass_time(self, double dt_s, bint is_cut) noexcept:
        """Predict every track over the time since the frame before, and forget those that were lost too long."""
        cdef TrackTable t = self.table
        cdef Py_ssize_t i
        self.frame += 1
        self.now_s += dt_s
        if is_cut:
            t.cut()
        elif t.n_seen < t.n and not self.revives_removed:
            self.order.n = 0
            for i in range(t.n):
                if t.state[i] != LOST or self.now_s - t.last_seen_s[i] <= self.buffer_s + CLOCK_TOLERANCE_S:
                    put(&self.order, i)
            if self.order.n < t.n:
                t.arrange(self.order.at, self.order.n, t.n_seen)
        for i in range(t.n):
            t.detection_row[i] = -1
        t.predict(dt_s, not self.new_tracks_stand_still)
        t.pass_time(dt_s)

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
        cdef long long class_id
        cdef double iou, cost
        cdef Box box
        cdef Detected* d
        for j in range(columns.n):
            self.asked[j] = self.seen[columns.at[j]]
        for i in range(rows.n):
            self.table.corners(rows.at[i], box.xyxy)
            measure_area(&box, self.extent_px)
            class_id = self.table.class_id[rows.at[i]]
            for j in range(columns.n):
                d = &self.asked[j]
                iou = overlap(&box, &d.box, self.extent_px)
                if iou == 0:
                    continue  # costs 1, more than any rule allows
                cost = 1 - iou
                if rule.fuse_score:
                    cost = 1 - (1 - cost) * d.score
                if cost <= rule.max_cost and self.may_be_one(class_id, d.class_id):
                    self.matcher.add(i, j, cost)
        return 0

    cdef inline bint may_be_one(self, long long a, long long b) noexcept:
        return a == b or not self.per_class

    cdef void correct(self, Py_ssize_t i, Py_ssize_t j) noexcept:
        """Correct track i by detection j, and note score, row and time of the match: the track is TRACKED."""
        cdef TrackTable t = self.table
        cdef Detected* d = &self.seen[j]
        t.correct(i, d.box.xyxy)
        t.note(i, d.box.xyxy, d.score)
        t.score[i], t.last_seen_s[i] = d.score, self.now_s
        t.state[i], t.last_frame[i], t.detection_row[i] = TRACKED, self.frame, j
        if not self.per_class:
            self.vote(i, d)

    cdef void vote(self, Py_ssize_t i, const Detected* d) noexcept:
        """Weighted majority vote: a track's class changes once another one has gathered more confidence."""
        cdef TrackTable t = self.table
        cdef double vote = t.vote[i] + (d.score if t.class_id[i] == d.class_id else -d.score)
        if vote < 0:
            t.class_id[i] = d.class_id
        t.vote[i] = abs(vote)

    cdef void start(self, Py_ssize_t j) noexcept:
        """Start a track, at the end of the table, for detection j."""
        cdef TrackTable t = self.table
        cdef Detected* d = &self.seen[j]
        cdef Py_ssize_t i = t.start(d.box.xyxy)
        t.begin_following(i, d.box.xyxy, d.score)
        t.score[i], t.vote[i], t.last_seen_s[i] = d.score, d.score, self.now_s
        t.track_id[i], t.class_id[i] = self.next_id, d.class_id
        # What is there when the tracker is switched on needs no second sighting.
        t.state[i] = TRACKED if self.frame == 1 else NEW
        t.start_frame[i], t.last_frame[i] = self.frame, self.frame
        t.detection_row[i], t.was_removed[i] = j, 0
        self.next_id += 1

    cdef Py_ssize_t retire(self, Py_ssize_t n_before) noexcept:
        """Write into `order` the tracks seen in this frame, then the lost ones, without new tracks that found no match.

        Rows from `n_before` on began in this frame. Returns how many were seen.
        """
        cdef TrackTable t = self.table
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
        return n_seen

    cdef Py_ssize_t without_duplicates(self, Py_ssize_t n_seen) noexcept:
        """Where a seen and a lost track of `order` overlap nearly fully, keep in it the one followed longer.

        Of `order`, the first `n_seen` are not lost; returns how many of them are left.
        """
        cdef TrackTable t = self.table
        cdef Py_ssize_t n = self.order.n, n_left = 0, a, b, i, j
        cdef long long lead
        cdef Box box
        cdef Py_ssize_t* goes = self.fresh.at
        if n_seen == 0 or n_seen == n:
            return n_seen
        # A seen track has a detection, so there is memory for as many boxes.
        for a in range(n_seen):
            t.corners(self.order.at[a], self.asked[a].box.xyxy)
            measure_area(&self.asked[a].box, self.extent_px)
        for a in range(n):
            goes[a] = False
        for b in range(n_seen, n):
            j = self.order.at[b]
            t.corners(j, box.xyxy)
            measure_area(&box, self.extent_px)
            for a in range(n_seen):
                i = self.order.at[a]
                if 1 - overlap(&self.asked[a].box, &box, self.extent_px) >= DUPLICATE_COST:
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
            if not goes[a]:
                put(&self.order, self.order.at[a])
                n_left += a < n_seen
        return n_left

    cdef bint is_shown(self, Py_ssize_t i) noexcept:
        return self.table.state[i] == TRACKED or (self.output_predicted and self.table.state[i] == LOST)

    cdef shown(self):
        """Corners in px, score, class, id and detection row of the tracks to show; read-only."""
        cdef TrackTable t = self.table
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
            t.corners(i, box)
            for c in range(4):
                xyxy[k, c] = <float>box[c]
            score[k] = <float>t.score[i]
            fields[0, k], fields[1, k], fields[2, k] = t.class_id[i], t.track_id[i], t.detection_row[i]
            k += 1
        for array in (xyxy_array, score_array, fields_array):
            array.setflags(False)
        return xyxy_array, score_array, fields_array[0], fields_array[1], fields_array[2]

    def motion(self):
        cdef TrackTable t = self.table
        cdef Py_ssize_t i, n = 0, k = 0
        for i in range(t.n):
            n += self.is_shown(i)
        velocity_array, std_array = empty((n, 4), FLOAT32), empty((2, n), FLOAT32)
        cdef float[:, ::1] velocity = velocity_array
        cdef float[:, ::1] std = std_array
        for i in range(t.n):
            if self.is_shown(i):
                t.motion(i, &velocity[k, 0], &std[0, k], &std[1, k])
                k += 1
        for array in (velocity_array, std_array):
            array.setflags(False)
        return velocity_array, std_array[0], std_array[1]
