"""The problem codes of the API: a literal table, in French and English. Codes are stable; texts may improve.

Owns     status, retryable, and for people: what it is, why it happens, what to do
Elsewhere: how a problem is raised and rendered (problems.py)
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProblemWords:
    """A code in one language."""

    title: str
    cause: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """A code. retryable: the same request may succeed later without a change."""

    status: int
    retryable: bool
    english: ProblemWords
    french: ProblemWords


def _kind(
    status: int, english: tuple[str, str, str], french: tuple[str, str, str], *, retryable: bool = False
) -> ProblemKind:
    return ProblemKind(status, retryable, ProblemWords(*english), ProblemWords(*french))


PROBLEMS: dict[str, ProblemKind] = {
    "malformed_json": _kind(
        400,
        ("Malformed JSON", "The body is not one JSON object.", "Send one JSON object, without repeated names."),
        ("JSON mal formé", "Le corps n'est pas un objet JSON.", "Envoyez un objet JSON, sans nom répété."),
    ),
    "invalid_encoding": _kind(
        400,
        ("Invalid encoding", "The body or a header is not in the announced encoding.", "Send UTF-8."),
        ("Encodage invalide", "Le corps ou un en-tête n'a pas l'encodage annoncé.", "Envoyez de l'UTF-8."),
    ),
    "version_unknown": _kind(
        400,
        (
            "Unknown API version",
            "The header Qerds-Version names no version that is answered here.",
            "Leave it out for the newest, or send the one that GET /v1/me names.",
        ),
        (
            "Version inconnue",
            "L'en-tête Qerds-Version ne cite aucune version de cette API.",
            "Omettez-le pour la plus récente, ou citez celle de GET /v1/me.",
        ),
    ),
    "token_invalid": _kind(
        401,
        ("Invalid access token", "There is no access token, or it was not issued here.", "Ask /oauth2/token for one."),
        ("Jeton invalide", "Le jeton d'accès manque ou n'est pas de nous.", "Demandez un jeton à /oauth2/token."),
    ),
    "token_expired": _kind(
        401,
        ("Expired access token", "The access token has run out (600 s).", "Ask /oauth2/token for a new one."),
        ("Jeton expiré", "Le jeton d'accès a expiré (600 s).", "Demandez un nouveau jeton à /oauth2/token."),
    ),
    "client_unknown": _kind(
        401,
        (
            "Unknown client",
            "The client is unknown or did not prove who it is.",
            "Check client_id and its key.",
        ),
        ("Client inconnu", "Le client est inconnu ou non authentifié.", "Vérifiez client_id et son secret ou sa clé."),
    ),
    "scope_missing": _kind(
        403,
        ("Scope missing", "The access token does not carry the needed scope.", "Ask for a token with this scope."),
        ("Portée manquante", "Le jeton n'a pas la portée nécessaire.", "Demandez un jeton avec cette portée."),
    ),
    "sender_suspended": _kind(
        403,
        ("Sender suspended", "The operator has suspended your submissions.", "Ask the operator; proofs stay here."),
        (
            "Expéditeur suspendu",
            "L'opérateur a suspendu vos dépôts.",
            "Contactez l'opérateur ; les preuves restent ici.",
        ),
    ),
    "sender_identity_expired": _kind(
        403,
        ("Identification expired", "Your identification as a sender has run out.", "Have it renewed by the operator."),
        ("Identification expirée", "Votre identification d'expéditeur a expiré.", "Faites-la renouveler."),
    ),
    "sealing_window_closed": _kind(
        403,
        ("Window closed", "Outside the times agreed, nothing may be submitted.", "Have a window opened, try again."),
        ("Plage fermée", "Aucun dépôt n'est permis hors des plages convenues.", "Faites ouvrir une plage."),
    ),
    "not_found": _kind(
        404,
        ("Not found", "There is nothing of yours at this address.", "Check the identifier."),
        ("Introuvable", "Rien ne vous appartient à cette adresse.", "Vérifiez l'identifiant."),
    ),
    "not_yet": _kind(
        404,
        ("Not yet there", "It will exist, but does not yet.", "Try again after the seconds in Retry-After."),
        ("Pas encore disponible", "Cela existera, mais pas encore.", "Réessayez après le délai de Retry-After."),
        retryable=True,
    ),
    "method_not_allowed": _kind(
        405,
        ("Method not allowed", "This address does not know this method.", "Use one of those in the header Allow."),
        ("Méthode non permise", "Cette adresse ne connaît pas cette méthode.", "Voyez l'en-tête Allow."),
    ),
    "client_ref_conflict": _kind(
        409,
        (
            "client_ref already used",
            "Another delivery of yours has this client_ref and another content.",
            "Use a new client_ref, or look at the delivery named in existing_id.",
        ),
        (
            "client_ref déjà utilisé",
            "Un autre envoi porte ce client_ref avec un autre contenu.",
            "Choisissez un autre client_ref, ou voyez l'envoi existing_id.",
        ),
    ),
    "idempotency_in_flight": _kind(
        409,
        ("Still in work", "The first request with this Idempotency-Key is not finished.", "Try again in a second."),
        ("Encore en cours", "La première requête avec cette clé n'est pas finie.", "Réessayez dans une seconde."),
        retryable=True,
    ),
    "part_conflict": _kind(
        409,
        ("Part conflict", "This part was sent before with other bytes.", "Begin anew: the first part stays."),
        ("Partie différente", "Cette partie a déjà été envoyée, avec d'autres octets.", "Recommencez à neuf."),
    ),
    "upload_incomplete": _kind(
        409,
        ("Upload incomplete", "Some parts have not arrived.", "Send the missing parts, then complete it again."),
        ("Fichier incomplet", "Des parties ne sont pas arrivées.", "Envoyez-les, puis terminez à nouveau."),
    ),
    "not_withdrawable": _kind(
        409,
        ("Cannot be withdrawn", "Something that was submitted uses it.", "Leave it: it is needed."),
        ("Retrait impossible", "Un envoi déposé l'utilise.", "Laissez-le : il est nécessaire."),
    ),
    "too_many_webhooks": _kind(
        409,
        ("Too many webhooks", "A sender has at most 20 webhooks.", "Delete one, or change one with PATCH."),
        ("Trop de webhooks", "Un expéditeur a au plus 20 webhooks.", "Supprimez-en un, ou modifiez-en un (PATCH)."),
    ),
    "rate_limited": _kind(
        429,
        ("Too many requests", "You ask more often than is allowed here.", "Wait for the seconds in Retry-After."),
        ("Trop de requêtes", "Vous demandez plus souvent que permis ici.", "Attendez le délai de Retry-After."),
        retryable=True,
    ),
    "batch_not_open": _kind(
        409,
        ("Batch not open", "The batch takes nothing in any more.", "Look at its state; open a new batch."),
        ("Lot fermé", "Le lot n'accepte plus rien.", "Voyez son état ; ouvrez un nouveau lot."),
    ),
    "already_submitted": _kind(
        409,
        ("Already submitted", "A batch is submitted once.", "Nothing is to be done; look at its state and results."),
        ("Déjà soumis", "Un lot est soumis une seule fois.", "Rien à faire ; voyez son état et ses résultats."),
    ),
    "upload_expired": _kind(
        410,
        ("Upload expired", "An upload that is not used lives 7 days.", "Upload the file again."),
        ("Dépôt de fichier expiré", "Un fichier non utilisé est gardé 7 jours.", "Déposez le fichier à nouveau."),
    ),
    "batch_expired": _kind(
        410,
        ("Batch expired", "A batch that is not submitted lives 7 days.", "Open a new batch and send the lines again."),
        ("Lot expiré", "Un lot non soumis est gardé 7 jours.", "Ouvrez un nouveau lot et renvoyez les lignes."),
    ),
    "body_too_large": _kind(
        413,
        ("Body too large", "The body is longer than this address takes.", "Send less; limits are in GET /v1/me."),
        ("Corps trop long", "Le corps dépasse la limite de cette adresse.", "Voyez les limites dans GET /v1/me."),
    ),
    "line_too_long": _kind(
        413,
        ("Line too long", "A line has at most 64 KiB.", "Upload the documents apart, and name them by upload_id."),
        ("Ligne trop longue", "Une ligne compte au plus 64 Kio.", "Déposez les documents à part (upload_id)."),
    ),
    "type_not_allowed": _kind(
        415,
        ("Type not allowed", "This content type is not accepted here.", "Use one of those named in the detail."),
        ("Type non accepté", "Ce type de contenu n'est pas accepté ici.", "Utilisez un des types indiqués."),
    ),
    "range_invalid": _kind(
        416,
        ("Range not satisfiable", "The range lies outside the document.", "Ask without Range, or for another one."),
        ("Plage invalide", "La plage est hors du document.", "Demandez sans Range, ou une autre plage."),
    ),
    "part_malformed": _kind(
        422,
        (
            "Malformed part",
            "A line of the part cannot be read; the part was not stored.",
            "Mend the line named in line and byte_offset, and send the part again.",
        ),
        (
            "Partie mal formée",
            "Une ligne de la partie est illisible ; la partie n'a pas été enregistrée.",
            "Corrigez la ligne (line, byte_offset) et renvoyez la partie.",
        ),
    ),
    "field_unknown": _kind(
        422,
        ("Unknown field", "A field has a name that we do not know.", "Remove it, or correct its spelling."),
        ("Champ inconnu", "Un champ porte un nom inconnu.", "Retirez-le, ou corrigez son nom."),
    ),
    "field_invalid": _kind(
        422,
        ("Invalid field", "A field is missing or has a value that is not allowed.", "Correct the fields in errors."),
        ("Champ invalide", "Un champ manque ou a une valeur non permise.", "Corrigez les champs listés dans errors."),
    ),
    "email_invalid": _kind(
        422,
        ("Invalid address", "This is not an e-mail address that can be written to.", "Correct the address."),
        ("Adresse invalide", "Ce n'est pas une adresse électronique valable.", "Corrigez l'adresse."),
    ),
    "consent_required": _kind(
        422,
        (
            "Consent required",
            "A consumer receives electronic registered mail only after agreeing to it.",
            "Record it (PUT /v1/consents/{ref}) or ask for it (POST /v1/consents/requests); name it in consent_ref.",
        ),
        (
            "Consentement requis",
            "Un particulier ne reçoit ce courrier qu'après y avoir consenti.",
            "Enregistrez-le (PUT /v1/consents/{ref}) ou demandez-le (POST /v1/consents/requests), et citez-le.",
        ),
    ),
    "consent_asked_too_often": _kind(
        409,
        (
            "Asked too often",
            "This address was asked for its consent as often as a sender may in a month.",
            "Reach the person in another way; Retry-After says when the address may be asked again.",
        ),
        (
            "Demandes trop fréquentes",
            "Le consentement a été demandé à cette adresse autant de fois qu'il est permis en un mois.",
            "Joignez la personne par une autre voie ; Retry-After dit quand elle pourra être sollicitée de nouveau.",
        ),
    ),
    "consent_request_open": _kind(
        409,
        (
            "Request still open",
            "This address was asked for its consent and has not answered yet.",
            "Wait for the answer (events consent.given, consent.refused), or until the request expires.",
        ),
        (
            "Demande en cours",
            "Un consentement a été demandé à cette adresse, qui n'a pas encore répondu.",
            "Attendez la réponse (événements consent.given, consent.refused), ou la fin de validité de la demande.",
        ),
    ),
    "birth_date_required": _kind(
        422,
        (
            "Birth date required",
            "Your account sends to consumers only with their birth date: two people may have one name.",
            "Add recipient.birth_date; GET /v1/me says what your account needs.",
        ),
        (
            "Date de naissance requise",
            "Votre compte n'écrit aux consommateurs qu'avec leur date de naissance, car des homonymes existent.",
            "Ajoutez recipient.birth_date ; GET /v1/me indique ce que votre compte exige.",
        ),
    ),
    "consent_unknown": _kind(
        422,
        ("Unknown consent", "No consent of this person has that reference.", "Record it, or correct consent_ref."),
        ("Consentement inconnu", "Aucun consentement de cette personne n'a cette référence.", "Enregistrez-le."),
    ),
    "consent_withdrawn": _kind(
        422,
        ("Consent withdrawn", "The person has withdrawn this consent.", "Send by another way, or ask again."),
        ("Consentement retiré", "La personne a retiré ce consentement.", "Utilisez une autre voie, ou redemandez-le."),
    ),
    "digest_mismatch": _kind(
        422,
        ("Digest mismatch", "The bytes do not have the digest that was given.", "Compute it again; send it again."),
        ("Empreinte différente", "Les octets n'ont pas l'empreinte annoncée.", "Recalculez-la et renvoyez."),
    ),
    "upload_unknown": _kind(
        422,
        ("Unknown upload", "No upload of yours has this identifier.", "Upload the file first, or correct upload_id."),
        ("Fichier inconnu", "Aucun de vos fichiers n'a cet identifiant.", "Déposez d'abord le fichier."),
    ),
    "idempotency_key_reused": _kind(
        422,
        ("Idempotency-Key reused", "The key was used with another request.", "Use a new key for a new request."),
        ("Clé déjà utilisée", "La clé a servi pour une autre requête.", "Prenez une nouvelle clé."),
    ),
    "backlog_full": _kind(
        429,
        ("Too much at once", "More is waiting than is worked off soon.", "Try again after the seconds in Retry-After."),
        ("Trop à la fois", "La file d'attente est pleine.", "Réessayez après le délai de Retry-After."),
        retryable=True,
    ),
    "internal_error": _kind(
        500,
        ("Internal error", "A fault of ours; it was recorded.", "Report the request_id."),
        ("Erreur interne", "Une erreur de notre côté ; elle est enregistrée.", "Signalez le request_id."),
    ),
    "unavailable": _kind(
        503,
        ("Unavailable", "A part that is needed does not answer. Nothing was stored.", "Try again later."),
        ("Indisponible", "Un élément nécessaire ne répond pas. Rien n'a été enregistré.", "Réessayez plus tard."),
        retryable=True,
    ),
}
