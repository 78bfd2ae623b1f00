# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""All tracks of one source as a struct of arrays, and their motion, compiled.

tracker/track_table.py, kalman.py and velocity.py hold the documentation. Every field lies in a piece of memory of its own, so that the filter's loops run over
all tracks at once, several at a time.
"""

from libc.math cimport exp, sqrt
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from tracker import kalman
from tracker import velocity as _velocity

cdef double POSITION_STD = kalman.POSITION_STD
cdef double ASPECT_MEASUREMENT_STD = kalman.ASPECT_MEASUREMENT_STD

cdef double[2] NOISIEST = _velocity.NOISIEST
cdef double STEADIEST = _velocity.STEADIEST
cdef double NOISE_MEMORY = _velocity.NOISE_MEMORY
cdef double NOISE_START = _velocity.NOISE_START
cdef double OUTLIER = _velocity.OUTLIER
cdef double USUAL = _velocity.USUAL
cdef double SUREST = _velocity.SUREST
cdef double CENTRE_CHANGE = _velocity.CENTRE_CHANGE
cdef double SIZE_CHANGE = _velocity.SIZE_CHANGE
cdef double CENTRE_START_STD = _velocity.CENTRE_START_STD
cdef double SIZE_START_STD = _velocity.SIZE_START_STD
cdef double MEMORY_S = _velocity.MEMORY_S
cdef double DRIFT_MEMORY_S = _velocity.DRIFT_MEMORY_S
cdef double DRIFT_LEARNING_S = _velocity.DRIFT_LEARNING_S
cdef Py_ssize_t MIN_TOGETHER = _velocity.MIN_TOGETHER
cdef double SHRINK = _velocity.SHRINK

cdef enum:
    N_REAL_FIELDS = 31
    N_FIELDS = 38
    FIELD_BYTES = 8


cdef struct Noise:
    double pp
    double pv
    double vv


cdef class TrackTable:
    """Rows 0 to n: tracks seen in the newest frame first, then the lost ones, each group in order of arrival.

    Args:
        motion: tracker.kalman.Motion.
    """

    def __cinit__(self, motion):
        self.interval_s = motion.interval_s
        self.step_variance = motion.step_variance()
        self.start_variance = motion.start_variance()
        self.clear()

    def __dealloc__(self):
        free(self.memory)
        free(self.spare)
        free(self.step_s)

    cdef int reserve(self, Py_ssize_t n) except -1:
        """Have memory for n tracks."""
        if n <= self.room:
            return 0
        cdef Py_ssize_t room = 2 * n, n_bytes = self.n * FIELD_BYTES, field
        cdef char* memory = <char*>malloc(N_FIELDS * room * FIELD_BYTES)
        cdef char* spare = <char*>malloc(N_FIELDS * room * FIELD_BYTES)
        cdef double* scratch = <double*>malloc(7 * room * sizeof(double))
        if memory == NULL or spare == NULL or scratch == NULL:
            free(memory)
            free(spare)
            free(scratch)
            raise MemoryError
        if self.n:
            for field in range(N_FIELDS):
                memcpy(memory + field * room * FIELD_BYTES, self.memory + field * self.room * FIELD_BYTES, n_bytes)
        free(self.memory)
        free(self.spare)
        free(self.step_s)
        self.memory, self.spare, self.step_s, self.scale, self.room = memory, spare, scratch, scratch + room, room
        self.noise_scale = scratch + 2 * room
        for field in range(4):
            self.wrong[field] = scratch + (3 + field) * room
        self.lay_out()
        return 0

    cdef void lay_out(self) noexcept:
        """Give each field its place in memory."""
        cdef Py_ssize_t room = self.room
        cdef double* real = <double*>self.memory
        cdef long long* whole = <long long*>(real + N_REAL_FIELDS * room)
        cdef int c
        for c in range(4):
            self.position[c], self.velocity[c] = real + c * room, real + (4 + c) * room
        self.shared = Covariance(real + 8 * room, real + 9 * room, real + 10 * room)
        self.aspect = Covariance(real + 11 * room, real + 12 * room, real + 13 * room)
        self.score, self.vote, self.last_seen_s = real + 14 * room, real + 15 * room, real + 16 * room
        for c in range(4):
            self.place[c], self.speed[c] = real + (17 + c) * room, real + (21 + c) * room
        self.of_centre = Covariance(real + 25 * room, real + 26 * room, real + 27 * room)
        self.of_size = Covariance(real + 28 * room, real + 29 * room, real + 30 * room)
        self.track_id, self.class_id, self.state = whole, whole + room, whole + 2 * room
        self.start_frame, self.last_frame = whole + 3 * room, whole + 4 * room
        self.detection_row, self.was_removed = whole + 5 * room, whole + 6 * room

    cdef void arrange(self, const Py_ssize_t* order, Py_ssize_t n, Py_ssize_t n_seen) noexcept:
        """Keep the n rows `order`, in that order, of which the first `n_seen` are not lost, and forget the others."""
        cdef Py_ssize_t field, i
        cdef const char* before = self.memory
        cdef char* after = self.spare
        for field in range(N_FIELDS):
            for i in range(n):
                memcpy(after + i * FIELD_BYTES, before + order[i] * FIELD_BYTES, FIELD_BYTES)
            before += self.room * FIELD_BYTES
            after += self.room * FIELD_BYTES
        self.memory, self.spare = self.spare, self.memory
        self.n, self.n_seen = n, n_seen
        self.lay_out()

    cdef void corners(self, Py_ssize_t i, double* box) noexcept:
        """The box xyxy of track i, in px."""
        cdef double half_height = self.position[HEIGHT][i] / 2
        cdef double half_width = self.position[ASPECT][i] * half_height
        box[0] = self.position[CX][i] - half_width
        box[1] = self.position[CY][i] - half_height
        box[2] = self.position[CX][i] + half_width
        box[3] = self.position[CY][i] + half_height

    cdef Py_ssize_t start(self, const double* box) noexcept:
        """Append a track at the box xyxy and return its row; there must be room. The other fields are the caller's."""
        cdef Py_ssize_t i = self.n
        cdef double measured[4]
        cdef double height2
        cdef int c
        to_measurement(box, measured)
        height2 = measured[HEIGHT] * measured[HEIGHT]
        for c in range(4):
            self.position[c][i], self.velocity[c][i] = measured[c], 0
        self.shared.pp[i], self.shared.pv[i] = self.start_variance[0] * height2, 0
        self.shared.vv[i] = self.start_variance[1] * height2
        self.aspect.pp[i], self.aspect.pv[i], self.aspect.vv[i] = self.start_variance[2], 0, self.start_variance[3]
        self.n += 1
        return i

    cdef void predict(self, double dt_s, bint moves_new) noexcept:
        """Move the tracks on by `dt_s`; those in state NEW only if `moves_new`."""
        cdef Py_ssize_t i
        cdef int c
        cdef double moves
        for i in range(self.n):
            # A lost track keeps its height: an old trend in size soon makes the box absurd.
            if self.state[i] >= LOST:
                self.velocity[HEIGHT][i] = 0
            moves = moves_new or self.state[i] != NEW
            self.step_s[i] = dt_s * moves
            self.scale[i] = self.position[HEIGHT][i] * self.position[HEIGHT][i] * moves
        spread(self.n, self.step_s, self.scale, self.shared, noise(dt_s, self.interval_s, self.step_variance))
        for i in range(self.n):
            self.scale[i] = moves_new or self.state[i] != NEW
        spread(self.n, self.step_s, self.scale, self.aspect, noise(dt_s, self.interval_s, self.step_variance + 2))
        for c in range(4):
            move(self.n, self.step_s, self.position[c], self.velocity[c])

    cdef void correct(self, Py_ssize_t i, const double* box) noexcept:
        """Correct track i by the measured box xyxy."""
        cdef double measured[4]
        cdef double position_noise = POSITION_STD * self.position[HEIGHT][i]
        cdef double total
        cdef int c
        to_measurement(box, measured)
        position_noise = position_noise * position_noise
        total = self.shared.pp[i] + position_noise
        for c in (CX, CY, HEIGHT):
            shift(self.position[c] + i, self.velocity[c] + i, measured[c], self.shared, i, total)
        shrink(self.shared, i, position_noise, total)
        position_noise = ASPECT_MEASUREMENT_STD * ASPECT_MEASUREMENT_STD
        total = self.aspect.pp[i] + position_noise
        shift(self.position[ASPECT] + i, self.velocity[ASPECT] + i, measured[ASPECT], self.aspect, i, total)
        shrink(self.aspect, i, position_noise, total)

    cdef void begin_following(self, Py_ssize_t i, const double* box, double score) noexcept:
        """Begin to learn the velocity of track i, new at the box xyxy: tracker.velocity.begin."""
        cdef double measured[4]
        cdef double height2, scale
        cdef int c
        centre_and_size(box, measured)
        height2 = measured[3] * measured[3]
        scale = noise_scale(measured[3], score)
        for c in range(4):
            self.place[c][i], self.speed[c][i] = measured[c], 0
        self.of_centre.pp[i], self.of_centre.pv[i] = usual_noise(&self.detector, 0) * scale, 0
        self.of_centre.vv[i] = CENTRE_START_STD * CENTRE_START_STD * height2
        self.of_size.pp[i], self.of_size.pv[i] = usual_noise(&self.detector, 1) * scale, 0
        self.of_size.vv[i] = SIZE_START_STD * SIZE_START_STD * height2

    cdef void pass_time(self, double dt_s) noexcept:
        """Move the tracks on: tracker.velocity.pass_time."""
        cdef double keep = exp(-dt_s / MEMORY_S), reach = MEMORY_S * (1 - keep), carried
        cdef Noise unit = following_noise(dt_s, keep, reach)
        cdef Py_ssize_t i
        cdef int c
        forget(&self.drift, dt_s)
        for i in range(self.n):
            self.scale[i] = self.place[3][i] * self.place[3][i]
        for c in range(4):
            carried = self.drift.velocity[c] * dt_s if c < 2 else 0
            for i in range(self.n):
                self.place[c][i] += reach * self.speed[c][i]
                if c < 2:
                    self.place[c][i] += carried
                self.speed[c][i] *= keep
        widen(self.n, keep, reach, self.scale, self.of_centre, unit, CENTRE_CHANGE * CENTRE_CHANGE)
        widen(self.n, keep, reach, self.scale, self.of_size, unit, SIZE_CHANGE * SIZE_CHANGE)

    cdef void note(self, Py_ssize_t i, const double* box, double score) noexcept:
        """Keep, for `follow`, by how much the measured box xyxy of track i differs from where it was expected."""
        cdef double measured[4]
        cdef int c
        centre_and_size(box, measured)
        self.noise_scale[i] = noise_scale(measured[3], score)
        for c in range(4):
            self.wrong[c][i] = measured[c] - self.place[c][i]

    cdef void follow(self, double dt_s) noexcept:
        """Learn the velocity of the tracks that were noted, those with a detection: tracker.velocity.learn."""
        cdef Py_ssize_t i, n = 0
        cdef int c
        cdef double weight, total = 0, shift
        cdef double[2] common, usual, fits
        common[0] = common[1] = fits[0] = fits[1] = 0
        for c in range(2):
            usual[c] = usual_noise(&self.detector, c)
        for i in range(self.n):
            if self.detection_row[i] >= 0:
                weight = 1 / (self.of_centre.pp[i] + usual[0] * self.noise_scale[i])
                total += weight
                common[0] += self.wrong[0][i] * weight
                common[1] += self.wrong[1][i] * weight
                n += 1
        if n >= MIN_TOGETHER:
            self.drift.time2 = self.drift.time2 * exp(-dt_s / DRIFT_LEARNING_S) + dt_s * dt_s
            for c in range(2):
                shift = learn_drift(&self.drift, c, common[c] / total, 1 / total, dt_s)
                for i in range(self.n):
                    self.place[c][i] += shift
                    self.wrong[c][i] -= shift
        for i in range(self.n):
            if self.detection_row[i] >= 0:
                fits[0] += self.settle(i, 0, self.of_centre, usual[0])
                fits[1] += self.settle(i, 2, self.of_size, usual[1])
        if n:
            learn_noise(&self.detector, fits, n)

    cdef inline double settle(self, Py_ssize_t i, int first, Covariance cov, double usual) noexcept:
        """Correct two of what is followed of track i, and their covariance; return how badly the box fits."""
        cdef double variance = usual * self.noise_scale[i], total = cov.pp[i] + variance, left, squares = 0
        cdef int c
        for c in range(first, first + 2):
            self.place[c][i] += cov.pp[i] / total * self.wrong[c][i]
            self.speed[c][i] += cov.pv[i] / total * self.wrong[c][i]
            left = variance / total * self.wrong[c][i]
            squares += left * left
        shrink(cov, i, variance, total)
        return min((squares / 2 + cov.pp[i]) / self.noise_scale[i], OUTLIER * OUTLIER * usual)

    cdef void motion(self, Py_ssize_t i, float* velocity, float* std_px, float* std_px_s) noexcept:
        """Velocity of the corners of track i and its doubt: tracker.velocity.motion."""
        cdef double x = self.drift.velocity[0] + without_doubt(self.speed[0][i], self.of_centre.vv[i])
        cdef double y = self.drift.velocity[1] + without_doubt(self.speed[1][i], self.of_centre.vv[i])
        cdef double half_width = without_doubt(self.speed[2][i], self.of_size.vv[i]) / 2
        cdef double half_height = without_doubt(self.speed[3][i], self.of_size.vv[i]) / 2
        velocity[0], velocity[1] = <float>(x - half_width), <float>(y - half_height)
        velocity[2], velocity[3] = <float>(x + half_width), <float>(y + half_height)
        std_px[0] = <float>sqrt(
            self.of_centre.pp[i] + usual_noise(&self.detector, 0) * (self.place[3][i] * self.place[3][i])
        )
        std_px_s[0] = <float>sqrt(self.of_centre.vv[i] + (self.drift.variance[0] + self.drift.variance[1]) / 2)

    cdef void cut(self) noexcept:
        """Forget all tracks and the camera's motion."""
        self.n = self.n_seen = 0
        memset(&self.drift, 0, sizeof(Drift))

    cdef void clear(self) noexcept:
        """Forget everything."""
        cdef int c
        self.cut()
        self.detector.count = NOISE_START
        for c in range(2):
            self.detector.squares[c] = NOISIEST[c] * NOISIEST[c] * NOISE_START


cdef double noise_scale(double height, double score) noexcept:
    """What the variance for a height of 1 and a usual score is multiplied by."""
    return sqrt(max(1 - score, SUREST) / USUAL) * (height * height)


cdef double usual_noise(const Detector* detector, int block) noexcept:
    """tracker.velocity.Noise.variance."""
    return detector.squares[block] / detector.count


cdef void learn_noise(Detector* detector, const double* fits, Py_ssize_t n) noexcept:
    """tracker.velocity.Noise.learn."""
    cdef double least, most
    cdef int c
    detector.count += n
    for c in range(2):
        least = STEADIEST * STEADIEST * detector.count
        most = NOISIEST[c] * NOISIEST[c] * detector.count
        detector.squares[c] = min(max(detector.squares[c] + fits[c], least), most)
        if detector.count > NOISE_MEMORY:
            detector.squares[c] *= NOISE_MEMORY / detector.count
    detector.count = min(detector.count, NOISE_MEMORY)


cdef double without_doubt(double speed, double variance) noexcept:
    """A velocity less some of its variance, never beyond 0."""
    cdef double square = speed * speed, cut = SHRINK * variance
    return speed * (1 - cut / square) if square > cut else 0


cdef void centre_and_size(const double* box, double* measured) noexcept:
    cdef double width = box[2] - box[0], height = box[3] - box[1]
    measured[0], measured[1], measured[2], measured[3] = box[0] + width / 2, box[1] + height / 2, width, height


cdef void forget(Drift* drift, double dt_s) noexcept:
    """tracker.velocity.Drift.pass_time."""
    cdef double keep = exp(-dt_s / DRIFT_MEMORY_S), usual
    cdef int c
    for c in range(2):
        usual = max(drift.squares[c] / drift.time2, 0.0) if drift.time2 > 0 else 0.0
        drift.velocity[c] *= keep
        drift.variance[c] = drift.variance[c] * (keep * keep) + usual * (1 - keep * keep)


cdef double learn_drift(Drift* drift, int c, double common, double variance, double dt_s) noexcept:
    """tracker.velocity.Drift.learn for one coordinate, once its time is noted."""
    cdef double seen = common + drift.velocity[c] * dt_s
    cdef double total = drift.variance[c] * dt_s * dt_s + variance
    cdef double gain = drift.variance[c] * dt_s / total * common
    drift.squares[c] = drift.squares[c] * exp(-dt_s / DRIFT_LEARNING_S) + (seen * seen - variance)
    drift.velocity[c] += gain
    drift.variance[c] = drift.variance[c] * variance / total
    return gain * dt_s


cdef Noise following_noise(double dt_s, double keep, double reach) noexcept:
    """tracker.velocity.step_noise."""
    cdef double velocity = MEMORY_S / 2 * (1 - keep * keep)
    return Noise(MEMORY_S * MEMORY_S * (dt_s - 2 * reach + velocity), reach * reach / 2, velocity)


cdef void widen(
    Py_ssize_t n, double keep, double reach, const double* height2, Covariance cov, Noise unit, double change2
) noexcept:
    cdef Py_ssize_t i
    cdef double scale
    for i in range(n):
        scale = change2 * height2[i]
        cov.pp[i] += reach * (2 * cov.pv[i] + reach * cov.vv[i]) + unit.pp * scale
        cov.pv[i] = (cov.pv[i] + reach * cov.vv[i]) * keep + unit.pv * scale
        cov.vv[i] = cov.vv[i] * (keep * keep) + unit.vv * scale


cdef Noise noise(double dt_s, double interval_s, const double* variance) noexcept:
    """Noise of a step over `dt_s` seconds: tracker.kalman.Motion.step_noise."""
    cdef double share = dt_s / interval_s, position = variance[0], velocity = variance[1]
    return Noise(
        share * (position + velocity * (dt_s - interval_s) * (2 * dt_s - interval_s) / 6),
        share * velocity * (dt_s - interval_s) / 2,
        share * velocity,
    )


cdef void to_measurement(const double* box, double* measured) noexcept:
    cdef double width = box[2] - box[0], height = box[3] - box[1]
    measured[CX] = box[0] + width / 2
    measured[CY] = box[1] + height / 2
    measured[ASPECT] = width / height
    measured[HEIGHT] = height


cdef void move(Py_ssize_t n, const double* step_s, double* position, const double* velocity) noexcept:
    cdef Py_ssize_t i
    for i in range(n):
        position[i] += step_s[i] * velocity[i]


cdef void spread(Py_ssize_t n, const double* step_s, const double* scale, Covariance cov, Noise noise) noexcept:
    cdef Py_ssize_t i
    for i in range(n):
        cov.pp[i] += step_s[i] * (2 * cov.pv[i] + step_s[i] * cov.vv[i]) + noise.pp * scale[i]
        cov.pv[i] += step_s[i] * cov.vv[i] + noise.pv * scale[i]
        cov.vv[i] += noise.vv * scale[i]


cdef void shift(
    double* position, double* velocity, double measured, Covariance cov, Py_ssize_t i, double total
) noexcept:
    cdef double error = measured - position[0]
    position[0] += cov.pp[i] / total * error
    velocity[0] += cov.pv[i] / total * error


cdef void shrink(Covariance cov, Py_ssize_t i, double measurement_noise, double total) noexcept:
    cov.vv[i] -= cov.pv[i] * cov.pv[i] / total
    cov.pv[i] *= measurement_noise / total
    cov.pp[i] *= measurement_noise / total
