"""The key of a data root that signs decision records: Ed25519, made once, readable by its owner only."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PUBLIC_SUFFIX = ".pub"


class SigningKeyError(RuntimeError):
    """The key is missing, unreadable, or readable by others; the message names the file."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key ready to sign; ``public_key`` is its public half, 32 bytes in hexadecimal."""

    private_key: "Ed25519PrivateKey"
    public_key: str

    def sign(self, message: bytes) -> str:
        """Return the signature of a message, 64 bytes in hexadecimal."""
        return self.private_key.sign(message).hex()


def create_signing_key(path: Path) -> None:
    """Make the key (mode 0600) with its public half beside it, unless it exists; safe when several do it at once."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link fails where the name is taken: the first of several makers wins, whole.
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    public = path.with_name(path.name + PUBLIC_SUFFIX)
    if not public.exists():
        temporary = public.with_name(f".{public.name}.{os.getpid()}")
        temporary.write_text(load_signer(path).public_key + "\n", encoding="ascii")
        os.replace(temporary, public)


def load_signer(path: Path) -> Signer:
    """Return the key of a data root.

    Raises
    ------
    SigningKeyError
        If it is missing, is no Ed25519 key, or others than its owner may read it.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise SigningKeyError(f"{path}: cannot be read ({error.strerror}); run `flowsense init` first") from error
    if mode & 0o077:
        raise SigningKeyError(f"{path}: others may read this key (mode {mode & 0o777:04o}); chmod 600 it")
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise SigningKeyError(f"{path}: not a private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyError(f"{path}: not an Ed25519 key")
    return Signer(key, key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex())


def load_public_key(path: Path) -> str:
    """Return the public half of the key of a data root, in hexadecimal.

    Parameters
    ----------
    path : Path
        Path of the *private* key. Where it is, the public half is derived from it; where only the public half was
        copied to (a machine that verifies but never decides), the file beside it is read.

    Raises
    ------
    SigningKeyError
        If neither is there.
    """
    if path.exists():
        return load_signer(path).public_key
    public = path.with_name(path.name + PUBLIC_SUFFIX)
    try:
        return public.read_text(encoding="ascii").strip()
    except OSError as error:
        raise SigningKeyError(f"{public}: cannot be read ({error.strerror})") from error


def is_signed_by(public_key: str, message: bytes, signature: str) -> bool:
    """Return whether a signature (hexadecimal) of a message was made by the owner of a public key (hexadecimal)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True
