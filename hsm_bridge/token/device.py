"""The PKCS#11 token: the only door to it, made safe for threads and for a token that goes away.

Owns     loading with OS locking, the login, one session per worker, key templates, the meaning of token errors
Rules    sessions are never closed in normal work (closing the one that logged in logs out all); a key is found by
         class, label and id; a key's attributes are read back before use; PIN errors end the process (a retry locks)
Elsewhere: which key may do what for whom (operations), the recovery schedule (service), certificates
"""

import ctypes
import os
import queue
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11 import exceptions as failures
from pkcs11._pkcs11 import lib as PkcsLibrary  # noqa: N812  a class with a lower-case name
from pkcs11.mechanisms import KDF, GCMParams
from pkcs11.util.ec import encode_named_curve_parameters

from hsm_bridge.token.errors import KeyMissing, PointInvalid, TagMismatch, TokenAway, TokenStopped
from pipeline.formats.configuration import TokenSettings
from pipeline.formats.secret_file import read_secret

__all__ = ["KeyMissing", "PointInvalid", "TagMismatch", "TokenAway", "TokenStopped"]  # handed on to users of this door
GENERAL_ERRORS_MAX = 3  # in a row; then the module is taken for stuck and started again
CKF_OS_LOCKING_OK = 2  # PKCS#11 v2.40 section 3.7: the module uses the system's own locks
CKR_OK = 0
EC_BYTES = 32  # P-256 coordinates, digests, signature halves, ed25519 public keys
ED25519_OID = "1.3.101.112"  # RFC 8410; PKCS#11 v3.0 takes a curve by its object identifier
TAG_BITS = 128  # NIST SP 800-38D: the full tag

KeyUse = Literal["ca", "seal", "tsu", "statement", "intake", "identity", "kek", "mac", "webhook"]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Template:
    """One use of a key: exactly one kind of operation each."""

    key_class: ObjectClass
    key_type: KeyType
    capabilities: MechanismFlag


_SIGNING = _Template(ObjectClass.PRIVATE_KEY, KeyType.EC, MechanismFlag.SIGN)
_EDWARDS = _Template(ObjectClass.PRIVATE_KEY, KeyType.EC_EDWARDS, MechanismFlag.SIGN)
_AGREEING = _Template(ObjectClass.PRIVATE_KEY, KeyType.EC, MechanismFlag.DERIVE)
_WRAPPING = _Template(ObjectClass.SECRET_KEY, KeyType.AES, MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT)
_MACKING = _Template(ObjectClass.SECRET_KEY, KeyType.GENERIC_SECRET, MechanismFlag.SIGN | MechanismFlag.VERIFY)
TEMPLATES: dict[KeyUse, _Template] = {
    **dict.fromkeys(("ca", "seal", "tsu", "statement"), _SIGNING),
    **dict.fromkeys(("intake", "identity"), _AGREEING),
    "kek": _WRAPPING,
    "mac": _MACKING,
    "webhook": _EDWARDS,
}
_CURVES = {
    KeyType.EC: ("secp256r1", Mechanism.EC_KEY_PAIR_GEN),
    KeyType.EC_EDWARDS: (ED25519_OID, Mechanism.EC_EDWARDS_KEY_PAIR_GEN),
}
_GUARDED = {  # what a token must say of a key that was made in it and never left it
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.NEVER_EXTRACTABLE: True,
    Attribute.LOCAL: True,
    Attribute.MODIFIABLE: False,
}
_SET = (Attribute.PRIVATE, Attribute.SENSITIVE, Attribute.EXTRACTABLE, Attribute.MODIFIABLE)
_EXPLICIT = {name: _GUARDED[name] for name in _SET}  # named in every template: defaults differ between tokens
_CAPABILITIES = {
    Attribute.SIGN: MechanismFlag.SIGN,
    Attribute.DECRYPT: MechanismFlag.DECRYPT,
    Attribute.DERIVE: MechanismFlag.DERIVE,
    Attribute.UNWRAP: MechanismFlag.UNWRAP,
}
_LOST = (
    *(failures.ObjectHandleInvalid, failures.KeyHandleInvalid, failures.SessionHandleInvalid, failures.SessionClosed),
    *(failures.DeviceRemoved, failures.DeviceError, failures.TokenNotPresent, failures.TokenNotRecognised),
    *(failures.UserNotLoggedIn, failures.NoSuchToken),
)
_STOP = (
    *(failures.PinIncorrect, failures.PinLocked, failures.PinExpired, failures.PinInvalid, failures.PinLenRange),
    failures.UserPinNotInitialized,
)


class _InitializeArguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS, PKCS#11 v2.40 section 3.7."""

    _fields_ = (
        ("mutex_functions", ctypes.c_void_p * 4),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )


class _FunctionList(ctypes.Structure):
    """The head of CK_FUNCTION_LIST: all that is called outside python-pkcs11."""

    _fields_ = (
        ("version", ctypes.c_ubyte * 2),
        ("initialize", ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)),
        ("finalize", ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)),
    )


class LockingLibrary(PkcsLibrary):
    """python-pkcs11 starts modules without locks yet calls them from many threads at once: SoftHSM then crashes."""

    def __init__(self, so: str) -> None:
        table = ctypes.POINTER(_FunctionList)()
        if ctypes.CDLL(so).C_GetFunctionList(ctypes.byref(table)) != CKR_OK:
            raise TokenStopped(f"{so} is not a PKCS#11 module")
        self._functions = table.contents
        self._running = False
        super().__init__(so)  # calls initialize()

    def initialize(self) -> None:
        if not self._running:
            arguments = _InitializeArguments(flags=CKF_OS_LOCKING_OK)
            result = self._functions.initialize(ctypes.addressof(arguments))
            if result != CKR_OK:
                raise failures.GeneralError(f"C_Initialize answered {result:#x}")
            self._running = True

    def finalize(self) -> None:
        if self._running:
            self._running = False
            self._functions.finalize(None)  # whatever it answers, the next initialize tells


@dataclass(slots=True)
class _Lane:
    """One session and the key objects found in it; used by one thread at a time."""

    session: Any
    keys: dict[tuple[str, ObjectClass], Any] = field(default_factory=dict)

    def key(self, label: str, key_class: ObjectClass) -> Any:
        handle = self.keys.get((label, key_class))
        if handle is None:
            handle = self.keys[label, key_class] = _find(self.session, label, key_class)
        return handle


class Token:
    """Typed, thread-safe operations on labelled keys. Each may raise TokenAway, TokenStopped or KeyMissing."""

    def __init__(self, settings: TokenSettings, *, writable: bool = False) -> None:
        """Loads the module and logs in. `writable` is for the ceremony."""
        self._settings = settings
        self._writable = writable
        self._lanes: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        self._known: set[str] = set()
        self._general_errors = 0
        if settings.softhsm_conf is not None:
            os.environ["SOFTHSM2_CONF"] = str(settings.softhsm_conf)
        self._library = _translate(lambda: LockingLibrary(str(settings.module)), general_is_lost=True)
        self._anchor: Any = None
        opened = False
        try:
            self._login()
            for _ in range(self._settings.sessions):
                self._lanes.put(_Lane(self._open()))
            opened = True
        finally:
            if not opened:
                self._library.finalize()

    def restart(self) -> None:
        """Waits for the workers, then finalize, initialize, login: the only cure once a token came back."""
        lanes = [self._lanes.get() for _ in range(self._settings.sessions)]
        try:
            self._library.finalize()
            _translate(self._library.initialize, general_is_lost=True)
            self._login()
            lanes = [_Lane(self._open()) for _ in range(self._settings.sessions)]
            self._general_errors = 0
        finally:
            for lane in lanes:
                self._lanes.put(lane)

    def close(self) -> None:
        """Waits for the workers and ends the module's use by this process."""
        for _ in range(self._settings.sessions):
            self._lanes.get()
        self._library.finalize()
        del self._library  # now: the binding cannot take a subclass of its library apart when Python itself ends

    def sign(self, label: str, sha256: bytes) -> bytes:
        """r and s, 64 bytes, over a 32-byte digest."""
        return self._run(label, lambda lane: _sign(lane.key(label, ObjectClass.PRIVATE_KEY), sha256, Mechanism.ECDSA))

    def sign_edwards(self, label: str, data: bytes) -> bytes:
        """An ed25519 signature, 64 bytes, over the data itself (RFC 8032)."""
        return self._run(label, lambda lane: _sign(lane.key(label, ObjectClass.PRIVATE_KEY), data, Mechanism.EDDSA))

    def agree(self, label: str, point: bytes) -> bytes:
        """The shared x coordinate of ECDH with an uncompressed P-256 point; raises PointInvalid."""
        try:
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        except ValueError as error:  # some tokens answer GeneralError, which would look like a sick token
            raise PointInvalid("not a point of P-256") from error
        return self._run(label, lambda lane: _agree(lane.key(label, ObjectClass.PRIVATE_KEY), point))

    def encrypt(self, label: str, nonce: bytes, plain: bytes, associated: bytes) -> bytes:
        """AES-256-GCM; the nonce is never used twice under one key."""
        return self._run(
            label, lambda lane: _encrypt(lane.key(label, ObjectClass.SECRET_KEY), nonce, plain, associated)
        )

    def decrypt(self, label: str, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
        """Opens what encrypt made; raises TagMismatch."""
        return self._run(label, lambda lane: _decrypt(lane, label, nonce, sealed, associated))

    def mac(self, label: str, data: bytes) -> bytes:
        """HMAC-SHA256."""
        return self._run(
            label, lambda lane: _sign(lane.key(label, ObjectClass.SECRET_KEY), data, Mechanism.SHA256_HMAC)
        )

    def random(self, count_bytes: int) -> bytes:
        """Random bytes of the token."""
        return self._run("", lambda lane: _random(lane.session, count_bytes))

    def public_key(self, label: str) -> ec.EllipticCurvePublicKey:
        """The public half of an elliptic curve key."""
        return self._run(label, lambda lane: _public_key(lane.key(label, ObjectClass.PUBLIC_KEY)))

    def edwards_key(self, label: str) -> ed25519.Ed25519PublicKey:
        """The public half of an ed25519 key."""
        return self._run(label, lambda lane: _edwards_key(lane.key(label, ObjectClass.PUBLIC_KEY)))

    def labels(self) -> list[str]:
        """Labels of all private and secret keys."""
        return sorted(self._run("", lambda lane: _labels(lane.session)))

    def check_key(self, label: str, use: KeyUse) -> None:
        """Reads the attributes back and tries to read the value; raises TokenStopped for a key that could leave."""
        self._run(label, lambda lane: _check_key(lane, label, TEMPLATES[use]))

    def generate(self, label: str, use: KeyUse) -> None:
        """Makes a key in the token; ceremony only. Raises TokenStopped when the label is taken."""
        if label in self.labels():
            raise TokenStopped(f"key {label} exists")
        _translate(lambda: _generate(self._anchor, label, TEMPLATES[use]))
        self.check_key(label, use)

    def _run(self, label: str, work: Callable[[_Lane], Result]) -> Result:
        lane = self._lanes.get()
        try:
            result = _translate(lambda: work(lane))
        except KeyMissing as error:
            if label in self._known:  # it was there: the token came back empty-handed
                raise TokenAway(f"key {label} vanished", lost=True) from error
            raise
        except failures.GeneralError as error:
            self._general_errors += 1
            raise TokenAway("general error", lost=self._general_errors >= GENERAL_ERRORS_MAX) from error
        finally:
            self._lanes.put(lane)
        self._general_errors = 0
        self._known.add(label)
        return result

    def _login(self) -> None:
        pin = read_secret(self._settings.pin_file)
        self._anchor = self._open(user_pin=pin, rw=self._writable)

    def _open(self, **how: Any) -> Any:
        label = self._settings.label
        return _translate(lambda: self._library.get_token(token_label=label).open(**how), general_is_lost=True)


def _translate(work: Callable[[], Result], *, general_is_lost: bool = False) -> Result:
    """Runs one step at the token and gives its errors our names; a GeneralError is left to whoever counts them."""
    try:
        return work()
    except _STOP as error:
        raise TokenStopped(f"the token refuses the PIN: {type(error).__name__}") from error
    except _LOST as error:
        raise TokenAway(type(error).__name__, lost=True) from error
    except failures.NoSuchKey as error:
        raise KeyMissing("the token holds no such key") from error
    except failures.GeneralError as error:
        if general_is_lost:
            raise TokenAway("general error", lost=True) from error
        raise
    except failures.MultipleObjectsReturned as error:
        raise TokenStopped("two keys share a label") from error
    except failures.PKCS11Error as error:
        raise TokenAway(type(error).__name__, lost=False) from error


def _find(session: Any, label: str, key_class: ObjectClass) -> Any:
    # list(): a search that is not read to its end keeps the session's lock
    handles = list(
        session.get_objects({Attribute.CLASS: key_class, Attribute.LABEL: label, Attribute.ID: label.encode()})
    )
    if not handles:
        raise KeyMissing(f"the token holds no key {label}")
    if len(handles) > 1:
        raise failures.MultipleObjectsReturned(label)
    return handles[0]


def _labels(session: Any) -> list[str]:
    labels: list[str] = []
    for key_class in (ObjectClass.PRIVATE_KEY, ObjectClass.SECRET_KEY):
        labels += [key.label for key in list(session.get_objects({Attribute.CLASS: key_class, Attribute.TOKEN: True}))]
    return labels


def _sign(key: Any, data: bytes, mechanism: Mechanism) -> bytes:
    return bytes(key.sign(data, mechanism=mechanism))


def _agree(key: Any, point: bytes) -> bytes:
    shared = key.derive_key(
        KeyType.GENERIC_SECRET,
        EC_BYTES * 8,
        mechanism=Mechanism.ECDH1_DERIVE,
        mechanism_param=(KDF.NULL, None, point),
        template={Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True, Attribute.PRIVATE: True},
    )
    try:
        return bytes(shared[Attribute.VALUE])
    finally:
        shared.destroy()


def _encrypt(key: Any, nonce: bytes, plain: bytes, associated: bytes) -> bytes:
    return bytes(
        key.encrypt(plain, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(nonce, associated, TAG_BITS))
    )


def _decrypt(lane: _Lane, label: str, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    key = lane.key(label, ObjectClass.SECRET_KEY)
    parameters = GCMParams(nonce, associated, TAG_BITS)
    try:
        return bytes(key.decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))
    except (failures.EncryptedDataInvalid, failures.EncryptedDataLenRange) as error:
        raise TagMismatch("does not open") from error
    except failures.GeneralError as error:
        # SoftHSM says GeneralError for a wrong tag; a key that still encrypts tells this from a stuck module.
        _encrypt(key, _random(lane.session, len(nonce)), b"probe", b"probe")
        raise TagMismatch("does not open") from error


def _random(session: Any, count_bytes: int) -> bytes:
    return bytes(session.generate_random(count_bytes * 8))


def _public_key(key: Any) -> ec.EllipticCurvePublicKey:
    octets: bytes = key[Attribute.EC_POINT]
    point = octets[2:] if len(octets) == 2 * EC_BYTES + 3 else octets  # inside a DER OCTET STRING, by the standard
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def _edwards_key(key: Any) -> ed25519.Ed25519PublicKey:
    octets: bytes = key[Attribute.EC_POINT]
    return ed25519.Ed25519PublicKey.from_public_bytes(octets[-EC_BYTES:])  # inside a DER OCTET STRING or bare


def _check_key(lane: _Lane, label: str, template: _Template) -> None:
    key = lane.key(label, template.key_class)
    wrong = [name.name for name, value in _GUARDED.items() if key[name] is not value]
    for name, flag in _CAPABILITIES.items():
        if key[name] is not bool(template.capabilities & flag):
            wrong.append(name.name)
    if key.key_type is not template.key_type or wrong:
        raise TokenStopped(f"key {label} is not safe to use: {', '.join(wrong) or 'key type'}")
    try:
        value = key[Attribute.VALUE]
    except failures.AttributeSensitive:
        return
    raise TokenStopped(f"the token gave out the value of key {label} ({len(value)} bytes)")


def _generate(session: Any, label: str, template: _Template) -> None:
    common = {"id": label.encode(), "label": label, "store": True, "capabilities": template.capabilities}
    if template.key_type in _CURVES:
        name, mechanism = _CURVES[template.key_type]
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(name)}
        parameters = session.create_domain_parameters(template.key_type, curve, local=True)
        parameters.generate_keypair(
            **common,
            mechanism=mechanism,
            public_template={Attribute.MODIFIABLE: False},
            private_template=dict(_EXPLICIT),
        )
    else:
        session.generate_key(template.key_type, EC_BYTES * 8, **common, template=dict(_EXPLICIT))
