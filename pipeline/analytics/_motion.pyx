# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What speeds, ways, heat maps and the rules of motion work out at every frame, compiled.

Gives, bit for bit, what the classes of the same names that numpy_rules.py lists give; the documentation is there.
Arrays come and go through typed memoryviews, so that no NumPy header is needed to build this file.
"""

from libc.math cimport INFINITY, NAN, hypot, isfinite, isnan

import numpy as np

from pipeline.analytics import cells as _cells
from pipeline.analytics import conditions as _conditions
from pipeline.analytics import episodes as _episodes
from pipeline.analytics import slopes as _slopes
from pipeline.analytics import steps as _steps
from pipeline.analytics import sudden_stops as _sudden_stops
from pipeline.analytics.slots import grown

cdef Py_ssize_t SAMPLES = _slopes.SAMPLES, EVERY = _slopes.EVERY, STOP_SAMPLES = _sudden_stops.SAMPLES
cdef double PER_S = _steps.PER_S, LONGEST_S = _cells.LONGEST_S, EASE = _conditions.EASE, OVER_S = _episodes.OVER_S
cdef object Turn = _episodes.Turn
cdef object empty = np.empty
cdef object BOOL = np.dtype(bool), UINT8 = np.dtype(np.uint8)


cdef struct Ground:
    bint is_known
    double matrix[3][3]
    double min_w


cdef Ground ground_of(plane):
    cdef Ground ground
    ground.is_known = plane is not None
    if ground.is_known:
        ground.min_w = plane.min_w
        for i in range(3):
            for k in range(3):
                ground.matrix[i][k] = plane.matrix[i, k]
    return ground


cdef inline void to_world(const Ground* ground, double* x, double* y) noexcept:
    """As GroundPlane.to_world."""
    cdef double at[3]
    cdef Py_ssize_t i
    for i in range(3):
        at[i] = x[0] * ground.matrix[i][0] + y[0] * ground.matrix[i][1] + ground.matrix[i][2]
    x[0] = at[0] / at[2] if at[2] >= ground.min_w else NAN
    y[0] = at[1] / at[2] if at[2] >= ground.min_w else NAN


cdef class Slopes:
    cdef readonly object velocity, speed
    cdef double window_s, scale, worked_out_s
    cdef double least[4]
    cdef double most[4]
    cdef Ground ground
    cdef Py_ssize_t room, next
    cdef double[:, ::1] velocity_
    cdef double[::1] speed_, newest_s, times
    # The ring: 1 where a frame tells a place, and the places, by frame and slot. Sums of _work_out, by slot.
    cdef double[:, ::1] told, sums
    cdef double[:, :, ::1] places

    def __init__(self, double window_s, double scale):
        self.window_s, self.scale, self.worked_out_s = window_s, scale, -INFINITY
        self.times = np.full(SAMPLES, -np.inf)
        self.velocity_ = self.velocity = np.zeros((0, 2))
        self.speed_ = self.speed = np.zeros(0)
        self.newest_s = np.zeros(0)
        self.told, self.places = np.zeros((SAMPLES, 0)), np.zeros((SAMPLES, 0, 2))

    cdef grow(self, Py_ssize_t room):
        self.velocity_ = self.velocity = grown(self.velocity, room)
        self.speed_ = self.speed = grown(self.speed, room)
        self.newest_s = grown(np.asarray(self.newest_s), room)
        self.told = grown(np.asarray(self.told).T, room).T.copy()
        self.places = grown(np.asarray(self.places).transpose(1, 0, 2), room).transpose(1, 0, 2).copy()
        self.sums = np.zeros((8, room))
        self.room = room

    def place(self, plane, least, most):
        self.ground = ground_of(plane)
        for i in range(4):
            self.least[i], self.most[i] = least[i], most[i]
        self.times[:] = -INFINITY

    def update(self, view):
        cdef double now = view.time_s
        cdef const long long[:] born = view.born
        cdef Py_ssize_t i, frame, slot, last = (self.next or SAMPLES) - 1
        if view.capacity > self.room:
            self.grow(view.capacity)
        for i in range(born.shape[0]):
            slot = born[i]
            self.velocity_[slot, 0] = self.velocity_[slot, 1] = self.speed_[slot] = NAN
            self.newest_s[slot] = -INFINITY
            for frame in range(SAMPLES):
                self.told[frame, slot] = self.places[frame, slot, 0] = self.places[frame, slot, 1] = 0
        if now - self.times[last] >= self.window_s / SAMPLES:
            self.keep(view, now)
        if now - self.worked_out_s < self.window_s / EVERY - 1e-9:
            return False
        self.worked_out_s = now
        self.work_out(now)
        return True

    cdef keep(self, view, double now):
        cdef const long long[:] slots = view.slot
        cdef const double[:, :] anchor = view.anchor
        cdef const float[:, :] xyxy = view.xyxy
        cdef const unsigned char[:] predicted = view.predicted.view(UINT8)
        cdef double[:, ::1] places = self.places[self.next]
        cdef double[::1] told = self.told[self.next]
        cdef double x, y
        cdef Py_ssize_t i, c, slot
        cdef bint tells
        self.times[self.next] = now
        self.next = (self.next + 1) % SAMPLES
        told[:] = 0
        places[:, :] = 0
        for i in range(slots.shape[0]):
            tells = not predicted[i]
            for c in range(4):
                tells = tells and self.least[c] < <double>xyxy[i, c] and <double>xyxy[i, c] < self.most[c]
            x, y, slot = anchor[i, 0], anchor[i, 1], slots[i]
            if self.ground.is_known:
                to_world(&self.ground, &x, &y)
                tells = tells and isfinite(x)
            if tells:
                self.newest_s[slot] = now
                told[slot], places[slot, 0], places[slot, 1] = 1, x, y

    cdef void work_out(self, double now) noexcept:
        cdef Py_ssize_t frame, slot
        cdef double age, within, aged, n, share, spread
        cdef double* told
        cdef double* place
        cdef double[:, ::1] sums = self.sums
        if self.room == 0:
            return
        sums[:, :] = 0
        for frame in range(SAMPLES):
            age = self.times[frame] - now
            if not age >= -self.window_s - 1e-9:
                continue
            told, place = &self.told[frame, 0], &self.places[frame, 0, 0]
            for slot in range(self.room):
                aged = age * told[slot]
                sums[0, slot] += told[slot]
                sums[1, slot] += aged
                sums[2, slot] += age * aged
                sums[3, slot] += place[2 * slot]
                sums[4, slot] += place[2 * slot + 1]
                sums[5, slot] += age * place[2 * slot]
                sums[6, slot] += age * place[2 * slot + 1]
                sums[7, slot] = min(sums[7, slot], aged)
        for slot in range(self.room):
            n, spread = max(sums[0, slot], 1.0), NAN
            if self.newest_s[slot] - now - sums[7, slot] >= self.window_s / 2 - 1e-9:
                spread = sums[2, slot] - sums[1, slot] * sums[1, slot] / n
            share = sums[1, slot] / n
            self.velocity_[slot, 0] = (sums[5, slot] - sums[3, slot] * share) / spread
            self.velocity_[slot, 1] = (sums[6, slot] - sums[4, slot] * share) / spread
            self.speed_[slot] = hypot(self.velocity_[slot, 0], self.velocity_[slot, 1]) * self.scale


cdef class Steps:
    cdef double[:, ::1] from_px
    cdef double[::1] from_s
    cdef double looked_s
    cdef Py_ssize_t room

    def __init__(self):
        self.from_px, self.from_s, self.looked_s = np.zeros((0, 2)), np.zeros(0), -INFINITY

    cdef bint due(self, view, const long long[:] slots, const double[:, :] anchor, double time_s):
        cdef const long long[:] born
        cdef Py_ssize_t i, k
        if view.capacity > self.room:
            self.from_px = grown(np.asarray(self.from_px), view.capacity)
            self.from_s = grown(np.asarray(self.from_s), view.capacity)
            self.room = view.capacity
        born = view.born
        for k in range(born.shape[0]):
            for i in range(slots.shape[0]):
                if slots[i] == born[k]:
                    self.end(born[k], anchor[i, 0], anchor[i, 1], time_s)
        if time_s - self.looked_s < 1 / PER_S - 1e-9:
            return False
        self.looked_s = time_s
        return True

    cdef inline bint is_taken(self, Py_ssize_t slot, double x, double y, double least_px) noexcept:
        x, y = x - self.from_px[slot, 0], y - self.from_px[slot, 1]
        return x * x + y * y >= least_px * least_px

    cdef inline void end(self, Py_ssize_t slot, double x, double y, double time_s) noexcept:
        self.from_px[slot, 0], self.from_px[slot, 1], self.from_s[slot] = x, y, time_s

    cdef scale(self, factors):
        array = np.asarray(self.from_px)
        array *= factors


cdef class Ways:
    cdef readonly object sightings, predicted, path
    cdef long long[::1] sightings_, predicted_
    cdef double[::1] path_
    cdef Steps steps
    cdef Ground ground
    cdef double least_px
    cdef Py_ssize_t room

    def __init__(self):
        self.steps = Steps()
        self.sightings, self.predicted, self.path = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
        self.grow(0)

    cdef grow(self, Py_ssize_t room):
        self.sightings_ = self.sightings = grown(self.sightings, room)
        self.predicted_ = self.predicted = grown(self.predicted, room)
        self.path_ = self.path = grown(self.path, room)
        self.room = room

    def place(self, plane, double least_px, factors):
        self.ground, self.least_px = ground_of(plane), least_px
        self.steps.scale(factors)
        if plane is None:
            path = self.path
            path *= np.sqrt(factors[0] * factors[1])

    def update(self, view):
        cdef const long long[:] slots = view.slot
        cdef const long long[:] born = view.born
        cdef const double[:, :] anchor = view.anchor
        cdef const unsigned char[:] predicted = view.predicted.view(UINT8)
        cdef Steps steps = self.steps
        cdef double time_s = view.time_s, x, y, from_x, from_y, length
        cdef Py_ssize_t i, slot
        if view.capacity > self.room:
            self.grow(view.capacity)
        for i in range(born.shape[0]):
            slot = born[i]
            self.sightings_[slot] = self.predicted_[slot] = 0
            self.path_[slot] = 0
        for i in range(slots.shape[0]):
            self.sightings_[slots[i]] += 1
            self.predicted_[slots[i]] += predicted[i]
        if not steps.due(view, slots, anchor, time_s):
            return
        for i in range(slots.shape[0]):
            slot, x, y = slots[i], anchor[i, 0], anchor[i, 1]
            if not steps.is_taken(slot, x, y, self.least_px):
                continue
            from_x, from_y = steps.from_px[slot, 0], steps.from_px[slot, 1]
            steps.end(slot, x, y, time_s)
            if self.ground.is_known:
                to_world(&self.ground, &x, &y)
                to_world(&self.ground, &from_x, &from_y)
            length = hypot(x - from_x, y - from_y)
            if isfinite(length):
                self.path_[slot] += length


cdef class Cells:
    cdef readonly object presence, presence_s, moved_px, moved_s
    cdef float[:, ::1] presence_
    cdef double[::1] presence_s_, moved_s_
    cdef double[:, ::1] moved_px_
    cdef Steps steps
    cdef long long columns, rows
    cdef double cell_px, passed_s

    def __init__(self, long long columns):
        self.columns = columns
        self.steps = Steps()
        self.presence_s, self.moved_px, self.moved_s = np.zeros(0), np.zeros((0, 2)), np.zeros(0)

    def place(self, long long rows, double cell_px, factors):
        self.steps.scale(factors)
        self.cell_px, self.rows = cell_px, rows
        moved_px = self.moved_px
        moved_px *= factors
        n = rows * self.columns
        self.presence_s_ = self.presence_s = grown(self.presence_s[:n], n)
        self.moved_px_ = self.moved_px = grown(moved_px[:n], n)
        self.moved_s_ = self.moved_s = grown(self.moved_s[:n], n)
        self.presence_ = self.presence = self.presence_s.reshape(-1, self.columns).astype(np.float32)

    cdef inline long long of(self, double x, double y) noexcept:
        cdef long long column = min(max(<long long>(x / self.cell_px), 0), self.columns - 1)
        return min(max(<long long>(y / self.cell_px), 0), self.rows - 1) * self.columns + column

    def update(self, view, classes):
        cdef const long long[:] slots = view.slot
        cdef const long long[:] class_id = view.class_id
        cdef const double[:, :] anchor = view.anchor
        cdef const unsigned char[:] counted
        cdef Steps steps = self.steps
        cdef double time_s = view.time_s, dt_s = view.dt_s, x, y, way_x, way_y, took_s, passed_s
        cdef Py_ssize_t i, slot
        cdef long long n_classes = -1, cell
        cdef bint counts
        self.passed_s += min(dt_s, LONGEST_S)
        if not steps.due(view, slots, anchor, time_s):
            return
        passed_s, self.passed_s = self.passed_s, 0
        if classes is not None:
            counted = classes.view(UINT8)
            n_classes = counted.shape[0] - 1
        for i in range(slots.shape[0]):
            slot, x, y = slots[i], anchor[i, 0], anchor[i, 1]
            counts = n_classes < 0 or counted[class_id[i] if class_id[i] < n_classes else n_classes]
            if counts:
                cell = self.of(x, y)
                self.presence_s_[cell] += passed_s
                self.presence_[cell // self.columns, cell % self.columns] = <float>self.presence_s_[cell]
            if not steps.is_taken(slot, x, y, self.cell_px / 2):
                continue
            took_s = time_s - steps.from_s[slot]
            if counts and 0 < took_s <= LONGEST_S:
                way_x, way_y = x - steps.from_px[slot, 0], y - steps.from_px[slot, 1]
                cell = self.of(x - way_x / 2, y - way_y / 2)
                self.moved_px_[cell, 0] += way_x
                self.moved_px_[cell, 1] += way_y
                self.moved_s_[cell] += took_s
            steps.end(slot, x, y, time_s)


cdef class Conditions:
    cdef double[::1] max_speed, wrong_cos, over_cos, min_speed, stand_speed
    cdef double[:, ::1] directions

    def __init__(self, max_speed, wrong_cos, over_cos):
        self.max_speed, self.wrong_cos, self.over_cos = max_speed, wrong_cos, over_cos

    def place(self, min_speed, stand_speed, directions):
        self.min_speed, self.stand_speed, self.directions = min_speed, stand_speed, directions

    def look(self, const double[:, :] velocity, const double[:] speeds, inside):
        cdef const unsigned char[:, :] here = inside.view(UINT8)
        cdef Py_ssize_t i, k, m = here.shape[0], n = here.shape[1]
        cdef double speed, along
        on_array, off_array = empty((m, 3 * n), BOOL), empty((m, 3 * n), BOOL)
        cdef unsigned char[:, ::1] on = on_array.view(UINT8)
        cdef unsigned char[:, ::1] off = off_array.view(UINT8)
        for i in range(m):
            speed = speeds[i]
            for k in range(n):
                if not here[i, k]:
                    on[i, k] = on[i, n + k] = on[i, 2 * n + k] = False
                    off[i, k] = off[i, n + k] = off[i, 2 * n + k] = True
                    continue
                along = velocity[i, 0] * self.directions[k, 0] + velocity[i, 1] * self.directions[k, 1]
                on[i, k] = speed > self.max_speed[k]
                off[i, k] = speed < EASE * self.max_speed[k]
                on[i, n + k] = along <= self.wrong_cos[k] * speed and speed >= self.min_speed[k]
                off[i, n + k] = along > self.over_cos[k] * speed or speed < EASE * self.min_speed[k]
                on[i, 2 * n + k] = speed < self.stand_speed[k]
                off[i, 2 * n + k] = speed > self.stand_speed[k] / EASE
        return on_array, off_array


cdef class Episodes:
    cdef object by_slot
    cdef double[::1] hold_s
    cdef unsigned char[:, ::1] busy, is_active
    cdef double[:, ::1] since_s, over_s, peak
    cdef long long[:, ::1] since_ns
    cdef Py_ssize_t columns, room

    def __init__(self, hold_s):
        n = self.columns = len(hold_s)
        self.hold_s = hold_s
        self.by_slot = [
            np.zeros((0, n), np.uint8), np.zeros((0, n), np.uint8), np.zeros((0, n)), np.zeros((0, n)),
            np.zeros((0, n)), np.zeros((0, n), np.int64),
        ]
        self.hold(0)

    cdef hold(self, Py_ssize_t room):
        self.by_slot = [grown(array, room) for array in self.by_slot]
        self.busy, self.is_active, self.since_s, self.over_s, self.peak, self.since_ns = self.by_slot
        self.room = room

    @property
    def active(self):
        return self.by_slot[1].any(axis=0)

    def leave(self, view, last_s):
        cdef const long long[:] born = view.born
        cdef Py_ssize_t i
        ended = self.end_all(view.gone, last_s) if len(view.gone) else []
        if view.capacity > self.room:
            self.hold(view.capacity)
        for i in range(born.shape[0]):
            self.busy[born[i], :] = False
        return ended

    def update(self, view, on_array, off_array, const double[:] values):
        cdef const long long[:] slots = view.slot
        cdef const unsigned char[:, :] on_ = on_array.view(UINT8)
        cdef const unsigned char[:, :] off_ = off_array.view(UINT8)
        cdef double now = view.time_s
        cdef long long captured_ns = view.captured_ns
        cdef Py_ssize_t i, k, slot
        cdef bint on, off
        cdef list begun = [], ended = []
        for i in range(slots.shape[0]):
            slot = slots[i]
            for k in range(self.columns):
                on, off = on_[i, k], off_[i, k]
                if not (on or (off and self.busy[slot, k])):
                    continue
                if on and not self.busy[slot, k]:
                    self.since_s[slot, k], self.since_ns[slot, k], self.peak[slot, k] = now, captured_ns, values[i]
                self.busy[slot, k] = on or self.is_active[slot, k]
                self.over_s[slot, k] = min(self.over_s[slot, k], now) if off else INFINITY
                if on:
                    self.peak[slot, k] = max(self.peak[slot, k], values[i])
                    if not self.is_active[slot, k] and now - self.since_s[slot, k] >= self.hold_s[k] - 1e-9:
                        self.is_active[slot, k] = True
                        begun.append(self.turn(slot, k, None))
                elif self.is_active[slot, k] and now - self.over_s[slot, k] >= OVER_S - 1e-9:
                    ended.append(self.end(slot, k, self.over_s[slot, k]))
        return begun + ended

    def finish(self, last_s):
        return self.end_all(np.arange(self.room), last_s)

    cdef list end_all(self, const long long[:] slots, const double[:] last_s):
        cdef Py_ssize_t i, k, slot
        cdef list ended = []
        for i in range(slots.shape[0]):
            slot = slots[i]
            for k in range(self.columns):
                if self.is_active[slot, k]:
                    ended.append(self.end(slot, k, min(last_s[slot], self.over_s[slot, k])))
        return ended

    cdef end(self, Py_ssize_t slot, Py_ssize_t column, double end_s):
        turn = self.turn(slot, column, end_s)
        self.is_active[slot, column] = self.busy[slot, column] = False
        return turn

    cdef turn(self, Py_ssize_t slot, Py_ssize_t column, end_s):
        start = self.since_s[slot, column], self.since_ns[slot, column]
        return Turn(slot, column, start, end_s, self.peak[slot, column])


cdef class SuddenStops:
    cdef double[::1] from_speed, within_s, stand_speed, times
    cdef double[:, ::1] speeds, told_s
    cdef unsigned char[:, ::1] slow
    cdef double spacing_s
    cdef Py_ssize_t next, zones, room

    def __init__(self, from_speed, within_s):
        self.zones = len(from_speed)
        self.from_speed, self.within_s = from_speed, within_s
        self.stand_speed = np.zeros(self.zones)
        self.spacing_s = within_s.max(initial=0.0) / STOP_SAMPLES
        self.times = np.full(STOP_SAMPLES, -np.inf)
        self.speeds = np.zeros((STOP_SAMPLES, 0))
        self.slow, self.told_s = np.zeros((0, self.zones), np.uint8), np.zeros((0, self.zones))

    def place(self, stand_speed):
        self.stand_speed = stand_speed

    def meet(self, view):
        cdef const long long[:] born = view.born
        cdef Py_ssize_t i, frame, slot
        if view.capacity > self.room:
            self.room = view.capacity
            self.speeds = grown(np.asarray(self.speeds).T, self.room).T.copy()
            self.slow = grown(np.asarray(self.slow), self.room)
            self.told_s = grown(np.asarray(self.told_s), self.room)
        for i in range(born.shape[0]):
            slot = born[i]
            for frame in range(STOP_SAMPLES):
                self.speeds[frame, slot] = NAN
            self.slow[slot, :] = True
            self.told_s[slot, :] = -INFINITY

    def update(self, view, const double[:] speed, inside_array):
        cdef const long long[:] slots = view.slot
        cdef const unsigned char[:, :] inside = inside_array.view(UINT8)
        cdef double time_s = view.time_s, now, since_s, peak
        cdef Py_ssize_t i, k, frame, slot, last = (self.next or STOP_SAMPLES) - 1
        cdef bint slow, was_slow
        cdef list told = []
        if time_s - self.times[last] >= self.spacing_s:
            self.times[self.next] = time_s
            self.speeds[self.next, :] = speed
            self.next = (self.next + 1) % STOP_SAMPLES
        for i in range(slots.shape[0]):
            slot = slots[i]
            now = speed[slot]
            for k in range(self.zones):
                was_slow, slow = self.slow[slot, k], now < self.stand_speed[k]
                self.slow[slot, k] = slow or (was_slow and isnan(now))
                if not slow or was_slow or not inside[i, k]:
                    continue
                since_s, peak = max(time_s - self.within_s[k], self.told_s[slot, k]), 0
                for frame in range(STOP_SAMPLES):
                    if self.times[frame] >= since_s and self.speeds[frame, slot] > peak:
                        peak = self.speeds[frame, slot]
                if peak >= self.from_speed[k]:
                    self.told_s[slot, k] = time_s
                    told.append((slot, k, peak))
        return told
