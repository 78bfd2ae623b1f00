# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What objects, lines and zones work out at every frame, compiled.

Gives, bit for bit, what the classes of the same names that numpy_rules.py lists give; the documentation is there.
Arrays come and go through typed memoryviews, so that no NumPy header is needed to build this file.
"""

from libc.math cimport INFINITY, NAN, fabs, sqrt

import numpy as np

from pipeline.analytics import likeness as _likeness
from pipeline.analytics import sides as _sides
from pipeline.analytics.slots import grown
from pipeline.core.errors import UsageError

cdef double SETTLED_S = _sides.SETTLED_S, WINDOW_S = _likeness.WINDOW_S
cdef double FULL_GAP_S = _likeness.FULL_GAP_S, LEAST_LIKENESS = _likeness.LEAST_LIKENESS
cdef object empty = np.empty
cdef object BOOL = np.dtype(bool), INT64 = np.dtype(np.int64), UINT8 = np.dtype(np.uint8)
cdef enum:
    LOOK = 2  # of Sides.quiet


cdef inline bint right(double cross, bint ties_right) noexcept:
    """Whether a point is on the right, by the sign of a cross product."""
    return cross > 0 or (cross == 0 and ties_right)


cdef class Sides:
    cdef Py_ssize_t n_lines, room
    cdef object by_slot
    cdef double[:, :, ::1] ends
    cdef double[:, ::1] along
    cdef double[::1] near
    cdef double[:, ::1] last_xy, run_s, met_s
    cdef double[::1] last_s
    cdef long long[::1] last_ns
    cdef long long[:, ::1] met_ns
    cdef signed char[:, ::1] quiet, side, run, odd

    def __init__(self, Py_ssize_t n_lines):
        n = self.n_lines = n_lines
        self.by_slot = [
            np.zeros((0, 2)), np.zeros(0), np.zeros(0, np.int64), np.zeros((0, n)), np.zeros((0, n)),
            np.zeros((0, n), np.int64), *(np.zeros((0, n), np.int8) for _ in range(4)),
        ]
        self.hold()

    cdef hold(self):
        (self.last_xy, self.last_s, self.last_ns, self.run_s, self.met_s, self.met_ns, self.quiet, self.side, self.run,
         self.odd) = self.by_slot
        self.room = self.last_s.shape[0]

    def place(self, ends, near, factors):
        self.by_slot[0] *= factors
        self.ends, self.near = ends.copy(), near
        self.along = ends[:, 1] - ends[:, 0]

    def update(self, view):
        cdef const long long[:] slots = view.slot
        cdef const double[:, :] anchor = view.anchor
        cdef const long long[:] born = view.born
        cdef double time_s = view.time_s, x, y, near, cross
        cdef long long captured_ns = view.captured_ns
        cdef Py_ssize_t i, k, slot, n = self.n_lines
        cdef signed char beyond
        cdef signed char* quiet
        cdef double* along = &self.along[0, 0]
        cdef double* ends = &self.ends[0, 0, 0]
        if view.capacity > self.room:
            self.by_slot = [grown(array, view.capacity) for array in self.by_slot]
            self.hold()
        for i in range(born.shape[0]):
            slot = born[i]
            self.last_xy[slot, 0] = self.last_xy[slot, 1] = NAN
            for k in range(n):
                self.quiet[slot, k] = LOOK
                self.side[slot, k] = self.run[slot, k] = self.odd[slot, k] = 0
        crossed = []
        for i in range(slots.shape[0]):
            slot, x, y = slots[i], anchor[i, 0], anchor[i, 1]
            quiet = &self.quiet[slot, 0]
            for k in range(n):
                cross = along[2 * k] * (y - ends[4 * k + 1]) - along[2 * k + 1] * (x - ends[4 * k])
                near = self.near[k]
                beyond = (cross > near) - (cross < -near)
                if beyond != quiet[k] and self.look(slot, k, x, y, cross, beyond, time_s, captured_ns):
                    crossed.append((slot, k, self.side[slot, k], self.met_s[slot, k], self.met_ns[slot, k]))
            self.last_xy[slot, 0], self.last_xy[slot, 1] = x, y
            self.last_s[slot], self.last_ns[slot] = time_s, captured_ns
        return crossed

    cdef bint look(
        self, Py_ssize_t slot, Py_ssize_t k, double x, double y, double cross, signed char beyond, double time_s,
        long long captured_ns
    ) noexcept:
        """Follow an object and a line between which something may happen. Whether a crossing is certain now."""
        cdef signed char side = self.side[slot, k], run
        cdef bint odd, changed, crossed
        cdef double since_s
        self.follow(slot, k, x, y, cross, time_s, captured_ns)
        odd = self.odd[slot, k]
        run = 0 if beyond == side else beyond
        since_s = self.run_s[slot, k] if run == self.run[slot, k] else time_s
        self.run_s[slot, k] = since_s
        changed = run != 0 and (time_s - since_s >= SETTLED_S or fabs(cross) > 2 * self.near[k] or side == 0)
        crossed = changed and odd and side != 0
        if changed:
            side, run = beyond, 0
        odd = odd and (beyond != side or beyond == 0)
        self.side[slot, k], self.run[slot, k], self.odd[slot, k] = side, run, odd
        self.quiet[slot, k] = LOOK if odd or run != 0 or side == 0 else side
        return crossed

    cdef void follow(
        self, Py_ssize_t slot, Py_ssize_t k, double x, double y, double cross, double time_s, long long captured_ns
    ) noexcept:
        """If the step from the last sighting to this one meets the line, note it."""
        cdef double along_x = self.along[k, 0], along_y = self.along[k, 1]
        cdef double from_x = self.last_xy[slot, 0], from_y = self.last_xy[slot, 1]
        cdef double before = along_x * (from_y - self.ends[k, 0, 1]) - along_y * (from_x - self.ends[k, 0, 0])
        cdef bint ties = along_y < 0 or (along_y == 0 and along_x > 0)
        cdef double step_x, step_y, part
        cdef long long last_ns = self.last_ns[slot]
        if not before * cross <= 0 or right(cross, ties) == right(before, ties):
            return
        step_x, step_y = x - from_x, y - from_y
        ties = step_y > 0 or (step_y == 0 and step_x < 0)
        if right(
            step_x * (self.ends[k, 0, 1] - from_y) - step_y * (self.ends[k, 0, 0] - from_x), ties
        ) == right(step_x * (self.ends[k, 1, 1] - from_y) - step_y * (self.ends[k, 1, 0] - from_x), ties):
            return
        part = before / (before - cross)
        self.odd[slot, k] = not self.odd[slot, k]
        self.met_s[slot, k] = self.last_s[slot] + part * (time_s - self.last_s[slot])
        self.met_ns[slot, k] = last_ns + <long long>(part * <double>(captured_ns - last_ns))


cdef class Stays:
    cdef Py_ssize_t n_zones, room
    cdef readonly object inside, enter_s, enter_ns, last_in_s, last_in_ns, told, loiters, loiter_s, loiter_ns
    cdef object seen_array, far_since_array
    cdef unsigned char[:, ::1] counts_
    cdef double[::1] grace_s, min_visit_s, threshold_s, band_px
    cdef double least_grace_s
    # The polygons.
    cdef long long[::1] first_edge
    cdef double[:, ::1] upper, along
    cdef double[::1] bottom, slope, length_2, zone_top, zone_bottom
    # By slot, and zone. Names with an underscore: the arrays of the same names.
    cdef double[::1] seen_s
    cdef double[:, ::1] far_since_s, enter_s_, last_in_s_, loiter_s_
    cdef long long[:, ::1] enter_ns_, last_in_ns_, loiter_ns_
    cdef unsigned char[:, ::1] inside_, told_, loiters_

    def __init__(self, counts, grace_s, min_visit_s, threshold_s):
        n = self.n_zones = len(grace_s)
        self.counts_ = counts.view(np.uint8)
        self.grace_s, self.min_visit_s, self.threshold_s = (
            np.array(of_zone, np.float64) for of_zone in (grace_s, min_visit_s, threshold_s)
        )
        self.least_grace_s = np.min(grace_s, initial=np.inf)
        self.seen_array = np.zeros(0)
        self.inside, self.told, self.loiters = (np.zeros((0, n), bool) for _ in range(3))
        self.enter_ns, self.last_in_ns, self.loiter_ns = (np.zeros((0, n), np.int64) for _ in range(3))
        self.far_since_array, self.enter_s, self.last_in_s, self.loiter_s = (np.zeros((0, n)) for _ in range(4))
        self.grow(0)

    cdef grow(self, Py_ssize_t room):
        self.room = room
        self.seen_array = grown(self.seen_array, room)
        self.far_since_array = grown(self.far_since_array, room)
        self.inside, self.told, self.loiters = (grown(a, room) for a in (self.inside, self.told, self.loiters))
        self.enter_s, self.enter_ns = grown(self.enter_s, room), grown(self.enter_ns, room)
        self.last_in_s, self.last_in_ns = grown(self.last_in_s, room), grown(self.last_in_ns, room)
        self.loiter_s, self.loiter_ns = grown(self.loiter_s, room), grown(self.loiter_ns, room)
        self.seen_s, self.far_since_s = self.seen_array, self.far_since_array
        self.inside_, self.told_, self.loiters_ = (
            a.view(np.uint8) for a in (self.inside, self.told, self.loiters)
        )
        self.enter_s_, self.enter_ns_ = self.enter_s, self.enter_ns
        self.last_in_s_, self.last_in_ns_ = self.last_in_s, self.last_in_ns
        self.loiter_s_, self.loiter_ns_ = self.loiter_s, self.loiter_ns

    def place(self, polygons, band_px):
        cdef Py_ssize_t n = len(polygons.bottom)
        self.band_px = np.array(band_px, np.float64)
        self.first_edge = np.append(polygons.first_edge, n)
        self.upper, self.along, self.bottom = polygons.upper, polygons.along, polygons.bottom
        self.slope, self.length_2 = polygons.slope, polygons.length_2
        starts = polygons.first_edge
        self.zone_top = np.minimum.reduceat(polygons.upper[:, 1], starts) if n else np.zeros(0)
        self.zone_bottom = np.maximum.reduceat(polygons.bottom, starts) if n else np.zeros(0)

    cdef bint contains(self, Py_ssize_t zone, double x, double y) noexcept:
        cdef Py_ssize_t e
        cdef bint is_in = False
        if y < self.zone_top[zone] or y >= self.zone_bottom[zone]:
            return False
        for e in range(self.first_edge[zone], self.first_edge[zone + 1]):
            if self.upper[e, 1] <= y and y < self.bottom[e]:
                is_in ^= x < self.upper[e, 0] + (y - self.upper[e, 1]) * self.slope[e]
        return is_in

    cdef double distance(self, Py_ssize_t zone, double x, double y) noexcept:
        cdef Py_ssize_t e
        cdef double off_x, off_y, share, least = INFINITY
        for e in range(self.first_edge[zone], self.first_edge[zone + 1]):
            off_x, off_y = x - self.upper[e, 0], y - self.upper[e, 1]
            share = (off_x * self.along[e, 0] + off_y * self.along[e, 1]) / self.length_2[e]
            share = min(max(share, 0.0), 1.0)
            off_x, off_y = off_x - share * self.along[e, 0], off_y - share * self.along[e, 1]
            least = min(least, off_x * off_x + off_y * off_y)
        return sqrt(least)

    def update(self, view):
        cdef const long long[:] slots = view.slot
        cdef const long long[:] class_id = view.class_id
        cdef const double[:, :] anchor = view.anchor
        cdef double time_s = view.time_s, x, y
        cdef long long captured_ns = view.captured_ns, known, n_classes = self.counts_.shape[0] - 1
        cdef Py_ssize_t i, slot, zone
        cdef bint was_in
        if view.capacity > self.room:
            self.grow(view.capacity)
        for i in range(slots.shape[0]):
            self.seen_s[slots[i]] = time_s
        left, entered, begun, loiter = self.overdue(time_s), [], [], []
        for i in range(slots.shape[0]):
            slot, x, y = slots[i], anchor[i, 0], anchor[i, 1]
            known = class_id[i] if 0 <= class_id[i] < n_classes else n_classes
            for zone in range(self.n_zones):
                was_in = self.inside_[slot, zone]
                if not self.contains(zone, x, y):
                    if was_in and self.leaves(slot, zone, x, y, time_s):
                        self.inside_[slot, zone] = False
                        left.append((slot, zone))
                    continue
                if not was_in:
                    if not self.counts_[known, zone]:
                        continue
                    self.inside_[slot, zone] = True
                    self.enter_s_[slot, zone], self.enter_ns_[slot, zone] = time_s, captured_ns
                    entered.append(zone)
                self.far_since_s[slot, zone] = INFINITY
                self.last_in_s_[slot, zone], self.last_in_ns_[slot, zone] = time_s, captured_ns
                if not self.told_[slot, zone]:
                    if not time_s - self.enter_s_[slot, zone] >= self.min_visit_s[zone]:
                        continue
                    self.told_[slot, zone] = True
                    begun.append((slot, zone))
                if not self.loiters_[slot, zone] and time_s - self.enter_s_[slot, zone] >= self.threshold_s[zone]:
                    self.loiters_[slot, zone] = True
                    self.loiter_s_[slot, zone], self.loiter_ns_[slot, zone] = time_s, captured_ns
                    loiter.append((slot, zone))
        return left, entered, begun, loiter

    cdef list overdue(self, double time_s):
        """Those who were not seen for too long leave."""
        cdef Py_ssize_t slot, zone
        cdef double away_s
        cdef list left = []
        for slot in range(self.room):
            away_s = time_s - self.seen_s[slot]
            if not away_s > self.least_grace_s:
                continue
            for zone in range(self.n_zones):
                if self.inside_[slot, zone] and away_s > self.grace_s[zone]:
                    self.inside_[slot, zone] = False
                    left.append((slot, zone))
        return left

    cdef bint leaves(self, Py_ssize_t slot, Py_ssize_t zone, double x, double y, double time_s) noexcept:
        """Whether somebody outside the polygon has left."""
        cdef double away_px = self.distance(zone, x, y), since_s = INFINITY
        if away_px > self.band_px[zone]:
            since_s = min(self.far_since_s[slot, zone], time_s)
        self.far_since_s[slot, zone] = since_s
        return time_s - since_s >= SETTLED_S or away_px > 2 * self.band_px[zone]


cdef class Headcount:
    cdef readonly object now, max, object_s, is_empty, last_in_s
    cdef readonly object last_in_ns
    cdef readonly double lasted_s
    cdef Py_ssize_t n_zones
    cdef bint has_begun
    cdef double[::1] crowd, empty_s, object_s_, last_in_s_
    cdef long long[::1] now_, max_, last_in_ns_
    cdef unsigned char[::1] is_empty_

    def __init__(self, crowd, empty_s):
        cdef Py_ssize_t n = len(crowd)
        self.n_zones = n
        self.crowd, self.empty_s = np.array(crowd, np.float64), np.array(empty_s, np.float64)
        self.now_ = self.now = np.zeros(n, np.int64)
        self.max_ = self.max = np.zeros(n, np.int64)
        self.object_s_ = self.object_s = np.zeros(n)
        self.last_in_s_ = self.last_in_s = np.zeros(n)
        self.last_in_ns_ = self.last_in_ns = np.zeros(n, np.int64)
        self.is_empty = np.zeros(n, bool)
        self.is_empty_ = self.is_empty.view(np.uint8)

    def pass_time(self, double time_s, long long captured_ns, double dt_s):
        cdef Py_ssize_t zone
        if not self.has_begun:
            self.has_begun = True
            self.last_in_s_[:], self.last_in_ns_[:] = time_s, captured_ns
        for zone in range(self.n_zones):
            self.object_s_[zone] += self.now_[zone] * dt_s
        self.lasted_s += dt_s

    def enter(self, zones):
        cdef Py_ssize_t zone
        for zone in zones:
            self.now_[zone] += 1

    def leave(self, Py_ssize_t zone, last_in):
        cdef double last_in_s = last_in[0]
        self.now_[zone] -= 1
        if last_in_s > self.last_in_s_[zone]:
            self.last_in_s_[zone], self.last_in_ns_[zone] = last_in_s, last_in[1]

    def look(self, double time_s):
        cdef Py_ssize_t zone
        cdef list emptied = [], filled = [], too_many = []
        for zone in range(self.n_zones):
            self.max_[zone] = max(self.max_[zone], self.now_[zone])
            if self.now_[zone] > 0:
                if self.is_empty_[zone]:
                    self.is_empty_[zone] = False
                    filled.append(zone)
                if self.now_[zone] > self.crowd[zone]:
                    too_many.append(zone)
            elif not self.is_empty_[zone] and time_s - self.last_in_s_[zone] > self.empty_s[zone]:
                self.is_empty_[zone] = True
                emptied.append(zone)
        return emptied, filled, too_many


cdef class Sightings:
    cdef readonly object last_s, last_xyxy, last_predicted, class_id
    cdef object votes
    cdef double down
    cdef double[::1] last_s_
    cdef float[:, ::1] last_xyxy_
    cdef unsigned char[::1] last_predicted_
    cdef long long[::1] class_id_
    cdef int[:, ::1] votes_

    def __init__(self, double down):
        self.down = down
        self.last_s, self.last_xyxy, self.last_predicted = np.zeros(0), np.zeros((0, 4), np.float32), np.zeros(0, bool)
        self.class_id, self.votes = np.zeros(0, np.int64), np.zeros((0, 1), np.int32)
        self.grow(0)

    def grow(self, Py_ssize_t capacity):
        self.last_s_ = self.last_s = grown(self.last_s, capacity)
        self.last_xyxy_ = self.last_xyxy = grown(self.last_xyxy, capacity)
        self.last_predicted = grown(self.last_predicted, capacity)
        self.last_predicted_ = self.last_predicted.view(np.uint8)
        self.class_id_ = self.class_id = grown(self.class_id, capacity)
        self.votes_ = self.votes = grown(self.votes, capacity)

    def find(self, dict slot_of, const long long[:] track_id):
        cdef Py_ssize_t i, n = track_id.shape[0]
        cdef bint all_known = True
        found = empty(n, INT64)
        cdef long long[::1] slots = found
        for i in range(n):
            slots[i] = slot_of.get(track_id[i], -1)
            if slots[i] < 0:
                all_known = False
        return found, all_known

    def begin(self, Py_ssize_t slot, long long class_id):
        self.class_id_[slot] = class_id
        self.votes_[slot, :] = 0

    def note(self, const long long[:] slots, tracks, double time_s):
        cdef const float[:, :] xyxy = tracks.xyxy
        cdef const long long[:] class_id = tracks.class_id
        cdef const long long[:] detection_row = tracks.detection_row
        cdef Py_ssize_t i, c, slot, n = slots.shape[0]
        cdef double y1
        cdef long long before, now
        cdef list changes = []
        anchor_array, predicted_array, class_array = empty((n, 2)), empty(n, BOOL), empty(n, INT64)
        cdef double[:, ::1] anchor = anchor_array
        cdef unsigned char[::1] predicted = predicted_array.view(UINT8)
        cdef long long[::1] of_object = class_array
        self.have_votes_for(class_id)
        for i in range(n):
            slot, y1 = slots[i], xyxy[i, 1]
            anchor[i, 0] = (<double>xyxy[i, 0] + <double>xyxy[i, 2]) / 2
            anchor[i, 1] = y1 + self.down * (<double>xyxy[i, 3] - y1)
            self.last_s_[slot] = time_s
            for c in range(4):
                self.last_xyxy_[slot, c] = xyxy[i, c]
            self.last_predicted_[slot] = predicted[i] = detection_row[i] < 0
            before, now = self.class_id_[slot], class_id[i]
            self.votes_[slot, now] += 1
            if self.votes_[slot, now] > self.votes_[slot, before]:
                self.class_id_[slot] = now
                changes.append((before, now))
            of_object[i] = self.class_id_[slot]
        return anchor_array, predicted_array, class_array, changes

    cdef have_votes_for(self, const long long[:] class_id):
        cdef Py_ssize_t i
        cdef long long most = 0
        for i in range(class_id.shape[0]):
            most = max(most, class_id[i])
            if class_id[i] < 0:
                raise UsageError(f"Tracks.class_id: wanted 0 or more, found {class_id[i]}")
        if most >= self.votes_.shape[1]:
            self.votes_ = self.votes = np.concatenate(
                [self.votes, np.zeros((len(self.votes), most + 1 - self.votes_.shape[1]), np.int32)], axis=1
            )


cdef double overlap(const double* a, const double* b) noexcept:
    """IoU of two boxes."""
    cdef double width = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0), height = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    cdef double area_a = max(a[2] - a[0], 0.0) * max(a[3] - a[1], 0.0)
    cdef double area_b = max(b[2] - b[0], 0.0) * max(b[3] - b[1], 0.0)
    cdef double union_px = area_a + area_b - width * height
    return width * height / union_px if union_px > 0 else 0.0


cdef double ratio(const double* a, const double* b) noexcept:
    """Product of the ratios of widths and of heights, smaller by larger."""
    cdef double large = max(a[2] - a[0], b[2] - b[0]) * max(a[3] - a[1], b[3] - b[1])
    cdef double small = min(a[2] - a[0], b[2] - b[0]) * min(a[3] - a[1], b[3] - b[1])
    return small / large if large > 0 else 0.0


cdef int move_on(double* box, long long slot, double last_s, double since_s, double ahead_s, seen) except -1:
    """Move a vanished object's last box on at its velocity."""
    cdef const long long[:] slots
    cdef const float[:, :] xyxy
    cdef double t, n = 0, sum_t = 0, spread = 0, rise_x = 0, rise_y = 0, x, y
    cdef Py_ssize_t i
    cdef list places = []
    for time_s, slot_array, xyxy_array in seen:
        if time_s < since_s or time_s > last_s:
            continue
        slots, xyxy = slot_array, xyxy_array
        for i in range(slots.shape[0]):
            if slots[i] == slot:
                t, x, y = <double>time_s - last_s, <double>xyxy[i, 0] + xyxy[i, 2], <double>xyxy[i, 1] + xyxy[i, 3]
                places.append((t, x / 2, y / 2))
                n += 1
                sum_t += t
    for t, x, y in places:
        t -= sum_t / n
        spread += t * t
        rise_x += t * x
        rise_y += t * y
    if spread > 0:
        x, y = rise_x / spread * ahead_s, rise_y / spread * ahead_s
        box[0], box[1], box[2], box[3] = box[0] + x, box[1] + y, box[2] + x, box[3] + y
    return 0


def alike(double time_s, const float[:, :] xyxy, const long long[:] class_id, vanished, seen, double min_iou):
    cdef const long long[:] slot = vanished.slot
    cdef const long long[:] of_class = vanished.class_id
    cdef const float[:, :] last_xyxy = vanished.xyxy
    cdef const double[:] first_s = vanished.first_s
    cdef const double[:] last_s = vanished.last_s
    cdef double new[4]
    cdef double last[4]
    cdef double moved[4]
    cdef double needed, likeness
    cdef Py_ssize_t i, k, c
    cdef bint has_moved
    cdef list pairs = []
    for k in range(slot.shape[0]):
        needed = max(min_iou * min(time_s - last_s[k], FULL_GAP_S) / FULL_GAP_S, LEAST_LIKENESS)
        has_moved = False
        for c in range(4):
            last[c] = moved[c] = last_xyxy[k, c]
        for i in range(class_id.shape[0]):
            for c in range(4):
                new[c] = xyxy[i, c]
            # No overlap is more than 1, give or take the last bits: velocities are worked out of few.
            if class_id[i] != of_class[k] or ratio(new, last) < 0.999 * needed:
                continue
            if not has_moved:
                has_moved = True
                move_on(
                    moved, slot[k], last_s[k], max(last_s[k] - WINDOW_S, first_s[k]), time_s - last_s[k], seen
                )
            likeness = max(overlap(new, moved), overlap(new, last)) * ratio(new, last)
            if likeness >= needed:
                pairs.append((likeness, i, k))
    return pairs
